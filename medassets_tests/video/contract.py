"""What every decoder does with the segments of a video; a test class per decoder inherits it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import MadeVideo, VideoRecipe, make_video, read_frame_number
from medassets.video.frames.decoding import decode_segments
from medassets.video.requests import DecodedClip, FrameRequest
from medassets.video.timeline import Segment

Outcome = DecodedClip | SampleRejectedError
Decode = Callable[[Path, Sequence[Segment], FrameRequest], list[Outcome]]

REQUEST = FrameRequest(
    num_frames=16, max_frames=512, height=160, width=256, min_frames=1, end_tolerance_ms=500
)


def reasons(outcomes: Sequence[Outcome]) -> list[Reason | None]:
    """Return the reason of each rejection, None for a clip."""
    return [one.reason if isinstance(one, SampleRejectedError) else None for one in outcomes]


class DecoderContract:
    """Tests of a decoder; a subclass defines the fixture `decode`.

    Attributes:
        device: What clips say that decoded them.
        atol: Largest difference to frames that the CPU decodes in this process, of 255.
    """

    device = "cpu"
    atol = 0

    @pytest.fixture
    def decode(self) -> Decode:
        """Return the function that decodes segments."""
        raise NotImplementedError

    def assert_same(self, outcomes: Sequence[Outcome], expected: Sequence[Outcome]) -> None:
        """Compare clips and rejections; what decoded them may differ."""
        assert reasons(outcomes) == reasons(expected)
        for one, other in zip(outcomes, expected, strict=True):
            if isinstance(one, SampleRejectedError):
                assert isinstance(other, SampleRejectedError)
                assert one.detail == other.detail
                continue
            assert isinstance(other, DecodedClip)
            assert one.device == self.device
            assert one.fallback is None
            assert one.timestamps_s == other.timestamps_s
            assert one.facts == other.facts
            np.testing.assert_allclose(
                one.frames.astype(np.int16), other.frames, rtol=0, atol=self.atol
            )

    @pytest.mark.parametrize(
        ("codec", "suffix"),
        [("libx264", "mp4"), ("libx265", "mp4"), ("libvpx-vp9", "webm"), ("libsvtav1", "mp4")],
    )
    def test_frames_are_those_of_the_cpu_in_this_process(
        self, decode: Decode, codec: str, suffix: str, tmp_path: Path
    ) -> None:
        recipe = VideoRecipe(codec=codec, width=320, height=192, noise=30, num_frames=50)
        path = make_video(tmp_path / f"a.{suffix}", recipe).path
        segments = [Segment(0, 1000), Segment(500, 2000), Segment(1500, 60_000), Segment(200, None)]
        outcomes = decode(path, segments, REQUEST)
        assert reasons(outcomes) == [None, None, Reason.END_BEYOND_DURATION, None]
        self.assert_same(outcomes, list(decode_segments(path, segments, REQUEST)))

    def test_segments_of_one_call_are_those_of_calls_of_their_own(
        self, decode: Decode, four_seconds: MadeVideo
    ) -> None:
        segments = [Segment(0, 2000), Segment(1500, 3900), Segment(500, 700), Segment(0, None)]
        together = decode(four_seconds.path, segments, REQUEST)
        assert reasons(together) == [None] * 4
        alone = [decode(four_seconds.path, [segment], REQUEST)[0] for segment in segments]
        for one, other in zip(together, alone, strict=True):
            assert isinstance(one, DecodedClip)
            assert isinstance(other, DecodedClip)
            np.testing.assert_array_equal(one.frames, other.frames)
            assert one.timestamps_s == other.timestamps_s

    @pytest.mark.parametrize(
        "segment", [Segment(4000, 5000), Segment(1000, 4600), Segment(60_000, None)]
    )
    def test_a_segment_beyond_the_video_is_rejected_and_the_others_are_not(
        self, decode: Decode, segment: Segment, four_seconds: MadeVideo
    ) -> None:
        segments = [Segment(0, 1000), segment, Segment(3000, 4400)]
        outcomes = decode(four_seconds.path, segments, REQUEST)
        assert reasons(outcomes) == [None, Reason.END_BEYOND_DURATION, None]
        # Within the tolerance a clip ends with its video.
        assert isinstance(outcomes[2], DecodedClip)
        assert outcomes[2].end_ms == 4000

    def test_fewer_frames_than_required_are_too_short(
        self, decode: Decode, four_seconds: MadeVideo
    ) -> None:
        request = FrameRequest(16, 512, 160, 256, 8, 500)
        outcomes = decode(four_seconds.path, [Segment(0, 100)], request)
        assert reasons(outcomes) == [Reason.TOO_SHORT]

    @pytest.mark.parametrize("max_frames", [512, 20])
    def test_all_frames_are_kept_up_to_the_maximum(
        self, decode: Decode, max_frames: int, four_seconds: MadeVideo
    ) -> None:
        request = FrameRequest(0, max_frames, 160, 256, 1, 500)
        (clip,) = decode(four_seconds.path, [Segment(0, None)], request)
        assert isinstance(clip, DecodedClip)
        count = min(max_frames, 120)
        shown = [read_frame_number(frame) for frame in clip.frames]
        assert shown == [k * 120 // count for k in range(count)]

    @pytest.mark.parametrize(
        "content", [b"", b"no video at all" * 1000, b"\x00\x00\x00\x18ftypmp42" + bytes(500)]
    )
    def test_a_file_that_is_not_a_video_is_rejected(
        self, decode: Decode, content: bytes, tmp_path: Path
    ) -> None:
        path = tmp_path / "a.mp4"
        path.write_bytes(content)
        outcomes = decode(path, [Segment(0, 1000), Segment(5, None)], REQUEST)
        assert len(outcomes) == 2
        assert set(reasons(outcomes)) <= {Reason.DECODE_FAILED, Reason.NO_VIDEO_STREAM}
        assert not any(str(tmp_path) in str(outcome) for outcome in outcomes)

    def test_a_file_that_does_not_exist_is_a_missing_source(
        self, decode: Decode, tmp_path: Path
    ) -> None:
        outcomes = decode(tmp_path / "none.mp4", [Segment(0, 1000), Segment(5, None)], REQUEST)
        assert reasons(outcomes) == [Reason.MISSING_SOURCE] * 2

    def test_no_segments_have_no_outcomes(self, decode: Decode, four_seconds: MadeVideo) -> None:
        assert decode(four_seconds.path, [], REQUEST) == []

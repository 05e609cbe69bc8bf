"""A clip hangs on its video and its own stretch, never on what else is asked for in one call."""

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.frames.decoding import FrameRequest, Outcome, Segment, decode_segments
from medassets_tests.video.frames import test_decoding, test_frame_accuracy

pytestmark = pytest.mark.slow  # many decodes

REQUEST = FrameRequest(16, 512, 80, 128, 1, 500)
NUM_GROUPS, MOST_SEGMENTS = 3, 5

RECIPES = {
    name.replace(" ", "_") + "." + kind: recipe
    for name, (kind, recipe) in test_frame_accuracy.RECIPES.items()
} | test_decoding.RECIPES
RECIPES |= {
    "open_group.ts": VideoRecipe(num_frames=150, gop_frames=40, has_open_gop=True),
    "hevc.ts": VideoRecipe(codec="libx265", num_frames=90),
    "mpeg4_b.avi": VideoRecipe(codec="mpeg4", num_frames=90),
    "h264_b.avi": VideoRecipe(num_frames=150, num_b_frames=3),
    "h264.flv": VideoRecipe(num_frames=90),
    "mpeg4.mkv": VideoRecipe(codec="mpeg4", num_frames=90),
}


def decode(path: Path, *segments: Segment) -> list[Outcome]:
    return list(decode_segments(path, segments, REQUEST))


def assert_same(one: Outcome, other: Outcome) -> None:
    if isinstance(one, SampleRejectedError) or isinstance(other, SampleRejectedError):
        assert str(one) == str(other)
        return
    assert one.timestamps_s == other.timestamps_s
    np.testing.assert_array_equal(one.frames, other.frames)
    # All that a sample tells, too.
    nothing = np.empty((0, 0, 0, 3), np.uint8)
    assert replace(one, frames=nothing) == replace(other, frames=nothing)


def assert_independent(path: Path, *, last_ms: int, fixed: tuple[Segment, ...] = ()) -> None:
    """Decode random segments, each alone and together with random others."""
    rng = random.Random(path.name)
    segments = [*fixed, Segment(0, None)]
    while len(segments) < NUM_GROUPS * MOST_SEGMENTS:
        begin = rng.randrange(0, last_ms)
        segments.append(Segment(begin, begin + rng.randrange(1, 1 + last_ms // 3)))
    alone = {segment: decode(path, segment)[0] for segment in segments}
    for _ in range(NUM_GROUPS):
        group = rng.sample(segments, rng.randrange(2, MOST_SEGMENTS + 1))
        for segment, outcome in zip(group, decode(path, *group), strict=True):
            assert_same(outcome, alone[segment])
    for segment, outcome in zip(segments, decode(path, *segments), strict=True):
        assert_same(outcome, alone[segment])


@pytest.mark.parametrize("name", RECIPES)
def test_a_segment_alone_is_what_it_is_among_others(name: str, tmp_path: Path) -> None:
    made = make_video(tmp_path / name, RECIPES[name])
    assert_independent(made.path, last_ms=int(made.times_s[-1] * 1000))


def join(path: Path, parts: list[Path], *, overlap_frames: int) -> None:
    """Put videos one after another, the times of each beginning before the last one's end."""
    import av

    with av.open(str(path), "w") as output:
        stream, start, latest = None, 0, -(2**62)
        for part in parts:
            with av.open(str(part)) as source:
                input_stream = source.streams.video[0]
                stream = stream or output.add_stream_from_template(input_stream)
                assert input_stream.average_rate is not None
                assert input_stream.time_base is not None
                step = round(1 / (input_stream.average_rate * input_stream.time_base))
                stop, first = start, input_stream.start_time or 0
                for packet in source.demux(input_stream):
                    if not packet.size or packet.dts is None or packet.pts is None:
                        continue
                    packet.pts += start - first
                    # Muxers want packets in order, even where pictures are not.
                    packet.dts = latest = max(packet.dts + start - first, latest + 1)
                    packet.pts = max(packet.pts, packet.dts)
                    stop = max(stop, packet.pts + step)
                    packet.stream = stream
                    output.mux(packet)
                start = stop - overlap_frames * step


@pytest.mark.parametrize("overlap_frames", [0, 2, 20])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "ts"])
def test_parts_whose_times_overlap_change_no_clip_beside_them(
    kind: str, overlap_frames: int, tmp_path: Path
) -> None:
    recipe = VideoRecipe(num_frames=120, gop_frames=60, has_open_gop=True)
    # Settings of the coding within the pictures, as in a transport stream, so that sizes may change.
    parts = [
        make_video(tmp_path / "a.ts", recipe).path,
        make_video(tmp_path / "b.ts", replace(recipe, width=256, height=160)).path,
    ]
    path = tmp_path / f"joined.{kind}"
    join(path, parts, overlap_frames=overlap_frames)
    beside, across = Segment(6000, 6300), Segment(3800, 4300)
    assert_independent(path, last_ms=7400, fixed=(beside, across))


def test_an_overlap_far_away_shifts_no_frame(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_frames=120, gop_frames=60)
    parts = [make_video(tmp_path / f"{name}.ts", recipe).path for name in "ab"]
    path = tmp_path / "joined.mp4"
    join(path, parts, overlap_frames=2)
    # The second part begins at frame 118 of the first.
    begin_ms = 1 + (118 + 60) * 1000 // 30
    beside, across = Segment(begin_ms, begin_ms + 530), Segment(3800, 4100)
    for outcome in (decode(path, beside)[0], decode(path, beside, across)[0]):
        assert not isinstance(outcome, SampleRejectedError)
        assert [read_frame_number(frame) for frame in outcome.frames] == list(range(60, 76))
        expected = [(118 + number) / 30 for number in range(60, 76)]
        assert outcome.timestamps_s == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.avi"])
@pytest.mark.parametrize("seed", range(3))
def test_damage_is_not_felt_by_those_who_share_the_file(
    seed: int, name: str, tmp_path: Path
) -> None:
    import av

    path = make_video(tmp_path / name, VideoRecipe(num_frames=150, noise=25)).path
    with av.open(str(path)) as container:
        packets = [one for one in container.demux(video=0) if one.size and one.pos]
        spots = [(packet.pos or 0, packet.size) for packet in packets]
    rng, content = random.Random(f"{seed} {name}"), bytearray(path.read_bytes())
    for position, size in rng.sample(spots[1:], 3):
        content[position + size // 2 : position + size] = bytes(size - size // 2)
    path.write_bytes(content)
    assert_independent(path, last_ms=4900)

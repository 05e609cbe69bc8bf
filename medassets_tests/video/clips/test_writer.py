"""mp4 clips contain exactly the frames of their segment, for every kind of source.

The reference decodes everything from the first packet on, and selects by timestamps only.
"""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from medassets.errors import DiskSpaceError, Reason, SampleRejectedError
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests import shared_data
from medassets_tests.video.clips.shots import (
    CODINGS,
    HEIGHT,
    NOT_COPIED,
    WIDTH,
    Shot,
    assert_same_times,
    cut,
    decode_all,
    plan_segments,
    read_number,
    show_clip,
    write_video,
)

REAL = shared_data.VIDEO
LOSSLESS = ClipEncoding(crf=0)
COPY = ClipEncoding(mode="copy")


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("coding", "mode"),
    [(coding, "reencode") for coding in CODINGS if coding != "h264-avi"]
    + [(coding, "copy") for coding in CODINGS if coding not in NOT_COPIED],
)
def test_a_clip_shows_exactly_the_frames_of_its_stretch(
    coding: str, mode: Any, folder: Path, tmp_path: Path
) -> None:
    source, target = folder / coding, tmp_path / "clip.mp4"
    if not source.exists():
        write_video(source, range(0, 2400, 40), coding=coding)
    shots = [(low, high, read_number(luma)) for low, high, luma in decode_all(source)]
    assert [number for *_, number in shots] == list(range(60))
    for segment in plan_segments(shots, 6):
        facts = write_clip(source, segment, ClipEncoding(mode=mode), target)
        made, expected = show_clip(target, facts), cut(shots, segment.begin_ms, segment.end_ms)
        assert [read_number(luma) for *_, luma in made] == [number for *_, number in expected]
        assert_same_times(made, expected)
        assert facts.num_frames == len(decode_all(target))
        assert (facts.width, facts.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("mode", ["reencode", "copy"])
def test_the_same_clip_has_the_same_bytes(mode: Any, video: Path, tmp_path: Path) -> None:
    encoding = ClipEncoding(mode=mode, height=0)
    for name in ("a.mp4", "b.mp4"):
        write_clip(video, Segment(500, 1500), encoding, tmp_path / name)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content == (tmp_path / "b.mp4").read_bytes()
    # `mvhd`: version 0, flags 0, and neither creation nor modification time.
    header = content.index(b"mvhd") + 4
    assert content[header : header + 12] == bytes(12)
    assert b"Lavf" not in content


def test_a_stretch_behind_the_end_is_rejected(video: Path, tmp_path: Path) -> None:
    for encoding in (ClipEncoding(), COPY):
        with pytest.raises(
            SampleRejectedError, match=r"begins at 2400 ms.* ends at 2400"
        ) as caught:
            write_clip(video, Segment(2400, 3000), encoding, tmp_path / "clip.mp4")
        assert caught.value.reason is Reason.END_BEYOND_DURATION
        facts = write_clip(video, Segment(2399, 2900), encoding, tmp_path / "clip.mp4")
        assert (facts.begin_ms, facts.end_ms) == (2399, 2400)
        with pytest.raises(SampleRejectedError, match=r"ends at 2901 ms.* ends at 2400"):
            write_clip(video, Segment(2399, 2901), encoding, tmp_path / "clip.mp4")


def test_a_failure_leaves_the_old_clip_and_no_other_file(video: Path, tmp_path: Path) -> None:
    content = video.read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[: len(content) // 2])
    target = tmp_path / "clips" / "clip.mp4"
    write_clip(video, Segment(0, 400), COPY, target)
    before = target.read_bytes()
    for encoding in (ClipEncoding(), COPY):
        with pytest.raises(SampleRejectedError) as caught:
            write_clip(tmp_path / "broken.mp4", Segment(0, 400), encoding, target)
        assert caught.value.reason is Reason.DECODE_FAILED
        assert str(tmp_path) not in str(caught.value)
    assert [path.name for path in target.parent.iterdir()] == ["clip.mp4"]
    assert target.read_bytes() == before


def test_a_full_disk_is_no_fault_of_the_video(video: Path, tmp_path: Path) -> None:
    for encoding in (ClipEncoding(), COPY):
        with (
            largest_file(2000),
            pytest.raises(DiskSpaceError, match=r"clip\.mp4.* more bytes are needed"),
        ):
            write_clip(video, Segment(0, None), encoding, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_pictures_is_rejected(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "flt", "mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(SampleRejectedError) as caught:
        write_clip(tmp_path / "a.mp4", Segment(0, None), ClipEncoding(), tmp_path / "clip.mp4")
    assert caught.value.reason is Reason.NO_VIDEO_STREAM


def test_progress_is_told_for_every_packet(video: Path, tmp_path: Path) -> None:
    calls: list[None] = []
    facts = write_clip(
        video,
        Segment(0, None),
        ClipEncoding(),
        tmp_path / "clip.mp4",
        on_progress=lambda: calls.append(None),
    )
    assert len(calls) >= 2 * facts.num_frames


def list_real() -> list[Path]:
    return sorted(REAL.iterdir()) if REAL.is_dir() else []


@pytest.mark.skipif(not list_real(), reason="the folder of real videos is not there")
@pytest.mark.parametrize("source", list_real(), ids=lambda path: path.name)
def test_real_videos_are_cut_at_the_frame(source: Path, tmp_path: Path) -> None:
    begin_ms, end_ms = (40, 90) if "3frames" in source.name else (330, 1130)
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        start_s = Fraction(container.start_time or 0, 1_000_000)
        assert stream.time_base is not None
        shots: list[Shot] = []
        for frame in container.decode(stream):
            begin_s = (frame.pts or 0) * stream.time_base - start_s
            end_s = begin_s + (frame.duration or 0) * stream.time_base
            if shots:
                shots[-1] = (shots[-1][0], begin_s, shots[-1][2])
            shots.append((begin_s, end_s, frame.reformat(format="gray").to_ndarray()))
            if begin_s > 2:
                break
    expected = cut(shots, begin_ms, end_ms)
    # Two of them are shorter.
    for encoding in (replace(one, end_tolerance_ms=1000) for one in (LOSSLESS, COPY)):
        if encoding.mode == "copy" and source.name.startswith(("vp8", "mpeg4")):
            with pytest.raises(SampleRejectedError, match=r"cannot be copied .*in mp4.*: reencode"):
                write_clip(source, Segment(begin_ms, end_ms), encoding, tmp_path / "clip.mp4")
            continue
        facts = write_clip(source, Segment(begin_ms, end_ms), encoding, tmp_path / "clip.mp4")
        made = show_clip(tmp_path / "clip.mp4", facts)
        assert_same_times(made, expected)
        # Turned and 10-bit pictures are not stored as they were; their numbers are tested above.
        if encoding.mode == "copy" or not ("rot" in source.name or "main10" in source.name):
            for (*_, got), (*_, wanted) in zip(made, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)

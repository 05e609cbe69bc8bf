"""Which packets are decoded for a few frames."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.reader import VideoReader
from medassets.video.frames.packet_plan import PacketRange, plan_decoding, read_packets
from medassets.video.timeline import Timeline


def ignore() -> None:
    """Do nothing."""


def make_range(
    pts: Sequence[int], start: Sequence[int], *, disposable: str = "", hidden: str = ""
) -> PacketRange:
    """Return packets; marks name one packet each, by its index."""
    indices = np.arange(len(pts))
    marks = [np.isin(indices, [int(mark) for mark in text]) for text in (disposable, hidden)]
    return PacketRange(
        anchor=None,
        pts=np.array(pts, np.int64),
        keys=np.array(start) == indices,
        hidden=marks[1],
        disposable=marks[0],
        start=np.array(start, np.int64),
        timeline=Timeline(np.sort(np.array(pts, np.int64)), None),
    )


@pytest.mark.parametrize(
    ("wanted", "needed", "restarts"),
    [
        ([], [], []),
        ([0], [0], []),
        ([3], [0, 1], []),
        ([1], [0, 1, 2], []),
        ([6], [4, 5], [4]),
        ([0, 5], [0, 4, 5, 6], [4]),
    ],
)
def test_a_frame_needs_its_group_up_to_itself_without_disposable_pictures(
    wanted: list[int], needed: list[int], restarts: list[int]
) -> None:
    # I P b b | I P b: two groups in decoding order, where b is disposable.
    packets = make_range([0, 3, 1, 2, 4, 6, 5], [0, 0, 0, 0, 4, 4, 4], disposable="236")
    plan = plan_decoding(packets, wanted)
    assert np.flatnonzero(plan.needed).tolist() == needed
    assert np.flatnonzero(plan.restarts).tolist() == restarts
    assert sorted(packets.pts[plan.wanted].tolist()) == wanted
    assert plan.num_packets == (max(needed) + 1 if needed else 0)


def test_a_hidden_frame_is_not_kept() -> None:
    plan = plan_decoding(make_range([0, 1, 2], [0, 0, 0], hidden="1"), [1, 2])
    assert np.flatnonzero(plan.wanted).tolist() == [2]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ninety frames in groups of thirty."""
    recipe = VideoRecipe(num_frames=90, gop_frames=30)
    return make_video(tmp_path_factory.mktemp("films") / "a.mp4", recipe).path


def read_plainly(path: Path) -> list[tuple[int, bool]]:
    """Return timestamp and key flag of each packet, in order of the file."""
    with av.open(str(path)) as container:
        return [(p.pts or 0, p.is_keyframe) for p in container.demux(video=0) if p.size]


def test_a_whole_file_has_the_packets_that_ffmpeg_reads(film: Path) -> None:
    expected = read_plainly(film)
    with VideoReader(film) as reader:
        found = read_packets(reader, 0, None, on_progress=ignore)
    assert list(zip(found.pts.tolist(), found.keys.tolist(), strict=True)) == expected
    assert found.timeline.pts.tolist() == sorted(pts for pts, _ in expected)
    step = found.timeline.pts[1] - found.timeline.pts[0]
    assert found.timeline.end == found.timeline.pts[-1] + step
    assert (found.doubt, found.timeline.holes) == ("", ())


def test_packets_of_a_part_begin_with_its_key_frame(film: Path) -> None:
    times = sorted(pts for pts, _ in read_plainly(film))
    with VideoReader(film) as reader:
        found = read_packets(reader, times[40], times[45], on_progress=ignore)
    assert found.pts[0] == times[30]
    assert set(times[40:45]) <= set(found.pts.tolist())
    assert found.timeline.end is None
    plan = plan_decoding(found, [times[40]])
    assert plan.num_packets < 20


def test_frames_of_an_open_group_also_depend_on_the_group_before(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_frames=90, gop_frames=30, has_open_gop=True)
    path = make_video(tmp_path / "a.mp4", recipe).path
    with VideoReader(path) as reader:
        found = read_packets(reader, 0, None, on_progress=ignore)
    keys = np.flatnonzero(found.keys)
    leading = [i for i in range(keys[1] + 1, keys[2]) if found.pts[i] < found.pts[keys[1]]]
    assert leading
    assert {int(found.start[i]) for i in leading} == {keys[0]}

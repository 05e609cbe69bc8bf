"""Decoding by plan gives the planned frames, or says that packets and frames do not agree."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import UnplannedError
from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.files.reader import VideoReader
from medassets.video.frames.packet_plan import PacketRange, plan_decoding, read_packets
from medassets.video.frames.planned import PlannedDecoding


def ignore() -> None:
    """Do nothing."""


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty frames in two groups, with B-frames; frame k shows k."""
    recipe = VideoRecipe(num_frames=60, gop_frames=30)
    return make_video(tmp_path_factory.mktemp("films") / "a.mp4", recipe).path


def decode(reader: VideoReader, packets: PacketRange, numbers: Collection[int]) -> dict[int, int]:
    """Return wanted number -> number that the picture shows."""
    times = packets.timeline.pts
    number_of = {int(times[number]): number for number in numbers}
    decoding = PlannedDecoding(reader, packets, plan_decoding(packets, list(number_of)))
    found = {}
    for pts, frame in decoding.run(ignore):
        assert frame is not None
        assert number_of[pts] not in found
        found[number_of[pts]] = read_frame_number(
            np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
        )
    return found


@pytest.mark.parametrize("numbers", [[0], [59], [7, 8, 9], [1, 45], range(60), []])
def test_each_wanted_frame_comes_once_and_shows_its_number(
    numbers: Collection[int], film: Path
) -> None:
    with VideoReader(film) as reader:
        packets = read_packets(reader, 0, None, on_progress=ignore)
        assert decode(reader, packets, numbers) == {number: number for number in numbers}


def test_a_file_that_changed_in_between_is_not_decoded_by_plan(film: Path) -> None:
    with VideoReader(film) as reader:
        packets = read_packets(reader, 0, None, on_progress=ignore)
        pts = packets.pts.copy()
        pts[3] += 1
        with pytest.raises(UnplannedError, match="reads differently the second time"):
            decode(reader, replace(packets, pts=pts), [20])


def test_a_frame_that_no_packet_announces_is_noticed(film: Path) -> None:
    with VideoReader(film) as reader:
        packets = read_packets(reader, 0, None, on_progress=ignore)
        hidden = np.zeros_like(packets.hidden)
        hidden[0] = True
        with pytest.raises(UnplannedError, match="a frame that no packet announces"):
            decode(reader, replace(packets, hidden=hidden), [5])

"""Two passes of decoding, for files whose packets do not identify the frames."""

from pathlib import Path

import av
import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets.video.files.reader import VideoReader
from medassets.video.frames.two_pass import decode_learned, iter_frames, learn_frames

FILMS = {"a.mp4": "libx264", "a.mkv": "libx264", "a.avi": "mpeg4", "a.ts": "libx264"}


def ignore(_: object = None) -> None:
    """Do nothing."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for name, codec in FILMS.items():
        make_video(folder / name, VideoRecipe(codec=codec, num_frames=60, gop_frames=30))
    return folder


def read_number(frame: av.VideoFrame | None) -> int:
    assert frame is not None
    return read_frame_number(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))


@pytest.mark.parametrize("name", FILMS)
def test_the_second_pass_gives_the_frames_that_the_first_learned(name: str, folder: Path) -> None:
    wanted = [0, 29, 30, 44, 59]
    with VideoReader(folder / name) as reader:
        learned = learn_frames(reader, 0, None, on_progress=ignore)
        found = list(decode_learned(reader, learned, wanted, on_progress=ignore))
    assert len(learned.timeline.pts) == 60
    assert [(index, read_number(frame)) for index, frame in found] == [(k, k) for k in wanted]


def test_nothing_is_decoded_if_nothing_is_wanted(folder: Path) -> None:
    beats: list[None] = []
    with VideoReader(folder / "a.mp4") as reader:
        learned = learn_frames(reader, 0, None, on_progress=ignore)
        found = decode_learned(reader, learned, [], on_progress=lambda: beats.append(None))
        assert list(found) == []
    assert beats == []


def test_a_part_is_learned_without_the_rest(folder: Path) -> None:
    with VideoReader(folder / "a.mp4") as reader:
        whole = learn_frames(reader, 0, None, on_progress=ignore).timeline.pts.tolist()
        learned = learn_frames(reader, whole[10], whole[12], on_progress=ignore)
        pts = learned.timeline.pts.tolist()
        (found,) = decode_learned(reader, learned, [pts.index(whole[11])], on_progress=ignore)
    assert pts == [time for time in whole if time in pts]
    assert len(pts) < 60
    assert learned.timeline.end is None
    assert read_number(found[1]) == 11


def test_everything_is_decoded_as_ffmpeg_decodes_it(folder: Path) -> None:
    with av.open(str(folder / "a.mkv")) as container:
        expected = [frame.pts for frame in container.decode(video=0)]
    with VideoReader(folder / "a.mkv") as reader:
        found = list(iter_frames(reader, None, on_packet=ignore))
    assert [frame and frame.pts for frame in found] == expected

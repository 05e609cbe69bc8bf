"""What a container cuts away of pictures is cut away, as players do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.clips.plan import ClipEncoding
from medassets.video.clips.writer import write_clip
from medassets.video.files.cropping import Crop
from medassets.video.files.picture_filter import PictureFilter
from medassets.video.files.probe import probe_video
from medassets.video.files.reader import VideoReader
from medassets.video.frames.conversion import FrameConverter
from medassets.video.frames.decoding import DecodedClip, FrameRequest, Segment, decode_segments
from medassets_tests.shared_cases import find_case
from medassets_tests.video.cases import read_case_number
from medassets_tests.video.cropped_films import add_clap, copy_packets
from medassets_tests.video.naive import decode_naively

ALL = FrameRequest(0, 512, 80, 128, 1, 500)
WIDTH, HEIGHT = 128, 80
# Width, height and the centre's offsets, each as a fraction; and the sides that remain.
APERTURES: dict[str, tuple[tuple[int, ...], tuple[int, int, int, int]]] = {
    "in the middle": ((96, 1, 60, 1, 0, 1, 0, 1), (16, 10, 16, 10)),
    "one side": ((120, 1, 80, 1, -4, 1, 0, 1), (0, 0, 8, 0)),
    "a corner": ((64, 1, 40, 1, 32, 1, 20, 1), (64, 40, 0, 0)),
    "fractions": ((188, 2, 120, 2, 2, 2, -4, 4), (18, 9, 16, 11)),
    "half a pixel": ((127, 1, 79, 1, 1, 2, 1, 2), (1, 1, 0, 0)),
    "odd sides": ((93, 1, 57, 1, 1, 2, 1, 2), (18, 12, 17, 11)),
}
INVALID = {
    "wider than the picture": (200, 1, 80, 1, 0, 1, 0, 1),
    "outside the picture": (96, 1, 60, 1, 40, 1, 0, 1),
    "without a denominator": (96, 0, 60, 1, 0, 1, 0, 1),
    "nothing": (0, 1, 0, 1, 0, 1, 0, 1),
    "the whole picture": (128, 1, 80, 1, 0, 1, 0, 1),
}


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = VideoRecipe(num_frames=12, noise=20)
    return make_video(tmp_path_factory.mktemp("films") / "a.mp4", recipe).path


def decode(path: Path) -> DecodedClip:
    (clip,) = decode_segments(path, [Segment(0, None)], ALL)
    assert isinstance(clip, DecodedClip), clip
    return clip


def read_crop(path: Path) -> Crop | None:
    with VideoReader(path) as reader:
        return reader.crop


def cut(planes: np.ndarray, crop: Crop) -> np.ndarray:
    """Return the luma and chroma of a frame, yuv420p, of which numpy cuts a part."""
    luma = planes[crop.top : HEIGHT - crop.bottom, crop.left : WIDTH - crop.right]
    height, width = luma.shape
    chroma = planes[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
    top, left = crop.top // 2, crop.left // 2
    chroma = chroma[:, top : top + height // 2, left : left + width // 2]
    return np.concatenate([luma, chroma.reshape(-1, width)])


@pytest.mark.parametrize("name", APERTURES)
@pytest.mark.parametrize("kind", ["mp4", "mkv", "mov"])
def test_the_aperture_is_what_remains(kind: str, name: str, film: Path, tmp_path: Path) -> None:
    numbers, sides = APERTURES[name]
    path, crop = add_clap(film, tmp_path / "a.mp4", numbers), Crop(*sides)
    if kind != "mp4":
        path = copy_packets(path, tmp_path / f"b.{kind}")
    assert read_crop(path) == crop
    facts, clip = probe_video(path), decode(path)
    assert (facts.width, facts.height) == crop.sides(WIDTH, HEIGHT)
    assert clip.pixels.crop == sides
    picture_filter = PictureFilter(crop)
    converter = FrameConverter(ALL.height, ALL.width)
    for shown, frame in zip(clip.frames, decode_naively(film).frames, strict=True):
        cut_frame = picture_filter.apply(frame)
        np.testing.assert_array_equal(shown, converter.convert(cut_frame))
        if not any(side % 2 for side in sides):
            planes: Any = frame.to_ndarray()
            np.testing.assert_array_equal(cut_frame.to_ndarray(), cut(planes, crop))


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_aperture_cuts_nothing(name: str, film: Path, tmp_path: Path) -> None:
    path = add_clap(film, tmp_path / "a.mp4", INVALID[name])
    assert read_crop(path) is None
    assert decode(path).pixels.crop is None
    np.testing.assert_array_equal(decode(path).frames, decode(film).frames)


@pytest.mark.parametrize("kind", ["ts", "flv", "mp4", "mkv"])
def test_a_film_without_an_aperture_is_whole(kind: str, film: Path, tmp_path: Path) -> None:
    assert read_crop(copy_packets(film, tmp_path / f"a.{kind}")) is None


@pytest.mark.parametrize("mode", ["reencode", "copy"])
def test_a_clip_shows_what_remains(mode: Any, film: Path, tmp_path: Path) -> None:
    numbers, sides = APERTURES["in the middle"]
    path, target = add_clap(film, tmp_path / "a.mp4", numbers), tmp_path / "clip.mp4"
    facts = write_clip(path, Segment(0, None), ClipEncoding(mode=mode, crf=0), target)
    assert (facts.width, facts.height) == (96, 60)
    assert (facts.scan, facts.crop) == (
        ("copied", None) if mode == "copy" else ("progressive", sides)
    )
    # A copy is cut by its reader, what is encoded again before.
    assert read_crop(target) == (Crop(*sides) if mode == "copy" else None)
    difference = np.abs(decode(target).frames.astype(int) - decode(path).frames)
    assert difference.max() <= (0 if mode == "copy" else 2)


def test_a_turned_film_is_cut_before_it_is_turned(tmp_path: Path) -> None:
    recipe = VideoRecipe(num_frames=5, rotation=90, noise=20)
    film = make_video(tmp_path / "a.mp4", recipe).path
    # 80 x 128 as stored.
    path = add_clap(film, tmp_path / "b.mp4", (60, 1, 96, 1, 0, 1, -16, 1))
    facts = probe_video(path)
    assert (facts.width, facts.height) == (96, 60)
    assert read_crop(path) == Crop(10, 0, 10, 32)


def test_bars_of_a_film_with_an_aperture_are_cut_away() -> None:
    clip = decode(find_case("video/clap.mp4"))
    assert [read_case_number(frame) for frame in clip.frames] == list(range(60))
    assert clip.frames[:, :3].max() > 100 or clip.frames[:, -3:].max() > 100

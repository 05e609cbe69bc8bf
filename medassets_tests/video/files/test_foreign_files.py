"""Files that are named like videos say what they are."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.files.foreign_files import name_foreign, name_unwritten
from medassets.video.files.probe import probe_video
from medassets_tests.hostile_files import NO_FILES, write_hole
from medassets_tests.shared_cases import find_case

FORMATS = {
    "JPEG": "JPEG", "PNG": "PNG", "BMP": "BMP", "WEBP": "WebP", "TIFF": "TIFF", "ICO": "ICO",
    "PPM": "PPM", "JPEG2000": "JPEG 2000", "AVIF": "AVIF",
}  # fmt: skip
CONTENTS = {
    "empty": (b"", "empty"),
    "zeros": (bytes(5000), "not downloaded"),
    "page": (b"\n<!DOCTYPE html><html>Sign in</html>", "web page"),
    "sound": (b"RIFF\x24\0\0\0WAVEfmt " + bytes(16), "sound"),
    "archive": (b"PK\x03\x04" + bytes(60), "zip"),
    "playlist": (b"#EXTM3U\n", "playlist"),
    "document": (b"%PDF-1.7\n", "PDF"),
}


def refuse(path: Path, reason: Reason = Reason.DECODE_FAILED) -> str:
    with pytest.raises(SampleRejectedError, match=r"\A\w+: .") as caught:
        probe_video(path)
    assert caught.value.reason is reason
    assert str(path.parent) not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("form", FORMATS)
def test_a_picture_that_is_named_mp4_is_a_picture(form: str, tmp_path: Path) -> None:
    content = io.BytesIO()
    try:
        Image.new("RGB", (64, 48), (200, 30, 40)).save(content, form)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow writes no {form}")
    path = tmp_path / "a.mp4"
    path.write_bytes(content.getvalue())
    assert refuse(path) == f"the file is not a video: it is a picture ({FORMATS[form]})"


def save_pictures(path: Path, form: str, count: int) -> None:
    pictures = [Image.new("RGB", (64, 48), (200, 40 * index, 40)) for index in range(count)]
    options = {"save_all": True, "append_images": pictures[1:]} if form in ("PDF", "GIF") else {}
    pictures[0].save(path, form, **options)


@pytest.mark.parametrize("count", [1, 3])
def test_a_document_that_holds_pictures_is_a_document(count: int, tmp_path: Path) -> None:
    save_pictures(tmp_path / "a.mp4", "PDF", count)
    assert refuse(tmp_path / "a.mp4") == "the file is not a video: it is a document (PDF)"


def test_another_file_that_holds_pictures_is_no_video(tmp_path: Path) -> None:
    save_pictures(tmp_path / "a.jpg", "JPEG", 1)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.mp4").write_bytes(b"%!PS-Adobe-3.0\n" + content + content)
    assert "not a video" in refuse(tmp_path / "a.mp4")


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_a_gif_of_one_frame_is_a_picture(name: str, tmp_path: Path) -> None:
    save_pictures(tmp_path / name, "GIF", 1)
    assert refuse(tmp_path / name) == "the file is not a video: it is a single picture (GIF)"
    save_pictures(tmp_path / name, "GIF", 2)
    assert probe_video(tmp_path / name).codec == "gif"


@pytest.mark.parametrize(
    ("codec", "kind"),
    [("mjpeg", "mov"), ("mjpeg", "avi"), ("mjpeg", "mkv"), ("mjpeg", "mjpeg"), ("png", "mov")],
)
def test_one_picture_in_a_container_of_videos_is_a_picture(
    codec: str, kind: str, tmp_path: Path
) -> None:
    for count in (1, 3):
        path = tmp_path / f"{count}.{kind}"
        mux_pictures(path, codec, count)
        if count == 1:
            assert "picture (" in refuse(path)
        else:
            assert probe_video(path).codec == codec


def mux_pictures(path: Path, codec: str, count: int) -> None:
    import av
    from av.video.frame import VideoFrame

    form = "yuvj420p" if codec == "mjpeg" else "rgb24"
    with av.open(str(path), "w") as output:
        stream: Any = output.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, form
        for number in range(count):
            grey = np.full((48, 64), 80 * number, np.uint8)
            frame = VideoFrame.from_ndarray(grey, "gray").reformat(format=form)
            frame.pts = number
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


@pytest.mark.parametrize("name", CONTENTS)
def test_other_files_that_are_named_mp4_say_what_they_are(name: str, tmp_path: Path) -> None:
    content, said = CONTENTS[name]
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert said in refuse(path)


def test_a_git_lfs_pointer_has_its_own_reason_and_remedy(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n")
    assert "git lfs pull" in refuse(path, Reason.LFS_POINTER)


def test_an_unknown_file_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"something else")
    assert name_foreign(path) is None
    assert "cannot be opened" in refuse(path)


def test_the_jpeg_among_the_cases_is_a_picture() -> None:
    assert refuse(find_case("video/still_jpg.mp4")).endswith("it is a picture (JPEG)")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", ["mpg", "avi", "flv", "mkv"])
def test_a_film_whose_middle_was_never_written_is_not_searched(suffix: str, tmp_path: Path) -> None:
    whole, path = tmp_path / f"whole.{suffix}", tmp_path / f"a.{suffix}"
    make_video(whole, VideoRecipe())
    content = whole.read_bytes()
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.seek(4 << 30)
        file.write(content[len(content) // 2 :])
    assert "were never written" in refuse(path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts"])
def test_a_film_behind_which_nothing_was_written_is_a_film(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    make_video(path, VideoRecipe())
    before = probe_video(path)
    os.truncate(path, 4 << 30)
    after = probe_video(path)
    assert (after.width, after.height) == (before.width, before.height)


@pytest.mark.timeout(20)
def test_four_gigabytes_of_zeros_are_named_at_once(tmp_path: Path) -> None:
    assert "not downloaded" in refuse(write_hole(tmp_path / "a.mp4"))


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
def test_what_is_no_file_is_not_opened_here(kind: str, tmp_path: Path) -> None:
    NO_FILES[kind](tmp_path / "a.mp4")
    assert name_unwritten(tmp_path / "a.mp4") is None

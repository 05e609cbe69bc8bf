"""Files that are named like videos say what they are."""

import io
from pathlib import Path

import pytest
from PIL import Image

from medassets.errors import Reason, SampleRejectedError
from medassets.video.files.foreign_files import name_foreign
from medassets.video.files.probe import probe_video
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

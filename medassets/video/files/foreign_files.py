"""Say what a file is that is named like a video and is none."""

import os
from pathlib import Path

from medassets.storage.foreign_bytes import open_foreign

_NUM_BYTES = 512
_JPEG = b"\xff\xd8\xff"
_MAGICS: tuple[tuple[bytes, str], ...] = (
    (_JPEG, "a picture (JPEG)"),
    (b"\x89PNG\r\n\x1a\n", "a picture (PNG)"),
    (b"BM", "a picture (BMP)"),
    (b"II*\0", "a picture (TIFF)"),
    (b"MM\0*", "a picture (TIFF)"),
    (b"\0\0\x01\0", "a picture (ICO)"),
    (b"\0\0\0\x0cjP  ", "a picture (JPEG 2000)"),
    (b"P5", "a picture (PGM)"),
    (b"P6", "a picture (PPM)"),
    (b"%PDF-", "a document (PDF)"),
    (b"PK\x03\x04", "an archive (zip)"),
    (b"\x1f\x8b", "a compressed file (gzip)"),
    (b"7z\xbc\xaf", "an archive (7z)"),
    (b"Rar!", "an archive (RAR)"),
    (b"#EXTM3U", "a playlist, whose videos are elsewhere"),
    (b"<?xml", "a text (XML)"),
    (b"ID3", "a sound (MP3)"),
    (b"fLaC", "a sound (FLAC)"),
)
# Formats that are searched for the next packet: program streams, AVI, Flash, Matroska.
_MATROSKA = b"\x1a\x45\xdf\xa3"
_SEARCHED = (b"\0\0\x01\xba", b"RIFF", b"FLV", _MATROSKA)
_LONGEST_HOLE = 1 << 30
_RIFF_KINDS = {b"WEBP": "a picture (WebP)", b"WAVE": "a sound (WAV)"}
_STILL_BRANDS = {
    "avif": "a picture (AVIF)", "heic": "a picture (HEIC)", "heix": "a picture (HEIC)",
    "mif1": "a picture (HEIF)",
}  # fmt: skip
_PICTURE_CODECS = {
    "mjpeg": "JPEG", "gif": "GIF", "png": "PNG", "apng": "PNG", "webp": "WebP", "bmp": "BMP",
    "tiff": "TIFF", "jpeg2000": "JPEG 2000", "jpegls": "JPEG-LS", "ljpeg": "JPEG",
}  # fmt: skip
_PAGES = (b"<!doctype html", b"<html")


def name_still(major_brand: str) -> str | None:
    """Return what an mp4 is whose brand is that of a single picture; None for others."""
    return _STILL_BRANDS.get(major_brand)


def name_single(codec: str) -> str | None:
    """Return what a file is whose only picture has a codec, None if it may be a short film."""
    form = _PICTURE_CODECS.get(codec)
    return None if form is None else f"a single picture ({form})"


def name_embedding(path: Path) -> str | None:
    """Return what a file is that holds JPEG pictures, None if it begins with one.

    FFmpeg looks for them in any file, such as a document.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_JPEG)) == _JPEG:
            return None
    return name_foreign(path) or "another file that has pictures (JPEG) in it"


def name_unwritten(path: Path) -> str | None:
    """Return which part of a file was never written, where FFmpeg would search all of it for data.

    It searches about 140 MB of zeros in a second, without a sign of life. A pipe or device, which no
    list of videos has, is left to the decoder and its watchdog.

    Raises:
        OSError: If it cannot be read.
    """
    if not path.is_file():
        return None
    with open_foreign(path) as file:
        head = file.read(_NUM_BYTES)
        if len(head) == _NUM_BYTES and not any(head):
            return "zeros at its beginning: it was not downloaded"
        if not head.startswith(_SEARCHED):
            return None
        # What follows the last cluster of Matroska is not looked at.
        hole = _find_hole(file.fileno(), at_end=not head.startswith(_MATROSKA))
    return (
        f"not whole: the {hole[1]:,} bytes from byte {hole[0]:,} on were never written"
        if hole
        else None
    )


def _find_hole(fd: int, *, at_end: bool) -> tuple[int, int] | None:
    """Return offset and length of a hole of a sparse file that is too long to be searched."""
    size, end = os.fstat(fd).st_size, 0
    while end < size:
        start = os.lseek(fd, end, os.SEEK_HOLE)
        try:
            end = os.lseek(fd, start, os.SEEK_DATA)
        except OSError:
            # No data behind it.
            end = size if at_end else start
            size = end
        if end - start >= _LONGEST_HOLE:
            return start, end - start
    return None


def name_foreign(path: Path) -> str | None:
    """Return what a file is instead of a video, None if its first bytes do not tell.

    Raises:
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_NUM_BYTES)
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "zeros at its beginning: it was not downloaded"
    if head[:4] == b"RIFF" and head[8:12] in _RIFF_KINDS:
        return _RIFF_KINDS[head[8:12]]
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").lower().startswith(_PAGES):
        return "a web page (HTML)"
    return next((name for magic, name in _MAGICS if head.startswith(magic)), None)

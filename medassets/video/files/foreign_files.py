"""Say what a file is that is named like a video and is none."""

from pathlib import Path

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

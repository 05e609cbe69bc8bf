"""Draw a contact sheet: the first clips of a shard, a few frames each, with their texts."""

import io
import re
import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from medassets.arrays import FrameBatchArray

NUM_CLIPS = 3
"""Clips on a sheet."""

_FRAMES_PER_CLIP = 4
_FRAME_WIDTH_PX = 96
_SMALLEST_WIDTH_PX = 16
_TEXT_HEIGHT_PX = 13
_GAP_PX = 2
_LONGEST_TEXT = 62
_MOST_BYTES = 10_000
_ASCII = str.maketrans(
    {"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}
    | {"ß": "ss", "æ": "ae", "ø": "o", "œ": "oe", "ł": "l", "Æ": "Ae", "Ø": "O", "Ł": "L"}
)
_STRANGE = re.compile(r"[^ -~]+")
_QUALITIES = (75, 65, 55, 45, 35, 25)


def draw_contact_sheet(clips: Sequence[tuple[FrameBatchArray, str]]) -> bytes:
    """Return a JPEG of at most 10 KB: one row of four frames per clip, with its text below.

    Args:
        clips: Frames, uint8 (t, h, w, c), c = R, G, B, and the text of each clip; at least one.
    """
    width_px = _FRAME_WIDTH_PX
    jpeg = _shrink(clips[:NUM_CLIPS], width_px)
    while len(jpeg) > _MOST_BYTES and width_px > _SMALLEST_WIDTH_PX:
        width_px = width_px * 4 // 5
        jpeg = _shrink(clips[:NUM_CLIPS], width_px)
    return jpeg


def _shrink(clips: Sequence[tuple[FrameBatchArray, str]], width_px: int) -> bytes:
    """Encode at falling quality until the sheet is small enough, or at the lowest quality."""
    rows = [_draw_clip(frames, text, width_px) for frames, text in clips]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    top, content = 0, b""
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    for quality in _QUALITIES:
        content = _encode_jpeg(sheet, quality=quality)
        if len(content) <= _MOST_BYTES:
            break
    return content


def _draw_clip(frames: FrameBatchArray, text: str, width_px: int) -> Image.Image:
    """Draw frames spread over the clip side by side, with the text below."""
    height = max(round(width_px * frames.shape[1] / frames.shape[2]), 1)
    width = _FRAMES_PER_CLIP * (width_px + _GAP_PX) - _GAP_PX
    row = Image.new("RGB", (width, height + _TEXT_HEIGHT_PX))
    for place in range(_FRAMES_PER_CLIP):
        frame = Image.fromarray(frames[place * len(frames) // _FRAMES_PER_CLIP])
        small = frame.resize((width_px, height), Image.Resampling.BOX)
        row.paste(small, (place * (width_px + _GAP_PX), 0))
    ImageDraw.Draw(row).text((1, height), _simplify(text), font=ImageFont.load_default(10))
    return row


def _simplify(text: str) -> str:
    """Return the start of a text in ASCII; each run of other characters becomes `?`."""
    letters = unicodedata.normalize("NFKD", text[: 4 * _LONGEST_TEXT]).translate(_ASCII)
    words = " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())
    plain = _STRANGE.sub("?", words)
    return plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 3] + "..."


def _encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()

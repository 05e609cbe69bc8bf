"""A contact sheet: the first clips of a shard, a few frames each, with their texts."""

import io
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from medassets.arrays import FrameBatchArray

NUM_CLIPS = 3
"""Clips on a sheet."""

_FRAMES_PER_CLIP = 4
_FRAME_WIDTH_PX = 96
_TEXT_HEIGHT_PX = 13
_GAP_PX = 2
_LONGEST_TEXT = 62
_MOST_BYTES = 10_000


def draw_contact_sheet(clips: Sequence[tuple[FrameBatchArray, str]]) -> bytes:
    """Return a JPEG of about 10 KB at most.

    Args:
        clips: Frames, uint8 (t, h, w, c), c = R, G, B, and the text of each clip; at least one.
    """
    rows = [_draw_clip(frames, text) for frames, text in clips[:NUM_CLIPS]]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    # Noise needs more bytes than any film; quality goes before size.
    for quality in (75, 55, 35, 15, 5):
        jpeg = _encode_jpeg(sheet, quality=quality)
        if len(jpeg) <= _MOST_BYTES:
            return jpeg
    return jpeg


def _draw_clip(frames: FrameBatchArray, text: str) -> Image.Image:
    """Draw frames spread over the clip side by side, the text beneath."""
    height = max(round(_FRAME_WIDTH_PX * frames.shape[1] / frames.shape[2]), 1)
    width = _FRAMES_PER_CLIP * (_FRAME_WIDTH_PX + _GAP_PX) - _GAP_PX
    row = Image.new("RGB", (width, height + _TEXT_HEIGHT_PX))
    for place in range(_FRAMES_PER_CLIP):
        frame = Image.fromarray(frames[place * len(frames) // _FRAMES_PER_CLIP])
        small = frame.resize((_FRAME_WIDTH_PX, height), Image.Resampling.BOX)
        row.paste(small, (place * (_FRAME_WIDTH_PX + _GAP_PX), 0))
    shown = " ".join(text.split())[:_LONGEST_TEXT]
    # The font inside Pillow knows Latin only; what it does not know becomes a box, not an error.
    ImageDraw.Draw(row).text((1, height), shown, font=ImageFont.load_default(10))
    return row


def _encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()

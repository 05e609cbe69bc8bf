"""Encode the frames of one clip with its text and sizes as the members of a sample."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from medassets.arrays import BytesLike
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.storage.formats.npy import encode_npy
from medassets.video.catalog.clip_row import ClipRow
from medassets.video.frames.conversion import RESIZE
from medassets.video.requests import DecodedClip
from medassets.video.tokens import Tokenizer

MEMBER_SUFFIXES = ("npy", "txt", "tokens.npy", "size.json", "json")
"""Members of a clip's sample, in the order of the shard."""


def encode_clip_sample(
    item: SourceItem,
    staged: StagedFile,
    clip: DecodedClip,
    *,
    tokenizer: Tokenizer,
    fingerprint: str,
) -> EncodedSample:
    """Encode the five members of a clip's sample.

    - `npy`: the frames, uint8 (t, h, w, c), c = R, G, B;
    - `txt`: the transcript, UTF-8;
    - `tokens.npy`: its tokens, int64 (77,);
    - `size.json`: one size per frame, or null if the metadata has none;
    - `json`: what `describe_clip` returns.

    The bytes depend on the arguments only.

    Args:
        item: Catalog row of the clip.
        staged: The file it was decoded from.
        clip: Its frames.
        tokenizer: Turns the transcript into tokens.
        fingerprint: Fingerprint of the sample's inputs and settings; stored with it.
    """
    started = time.perf_counter()
    row = ClipRow.read(item.row)
    described = describe_clip(
        item, row, staged, clip, tokenizer_name=tokenizer.name, fingerprint=fingerprint
    )
    resampled = resample_sizes(row.size, len(clip.frames)) if row.size else None
    members: tuple[tuple[str, BytesLike], ...] = (
        ("npy", encode_npy(clip.frames)),
        ("txt", row.transcript.encode()),
        ("tokens.npy", encode_npy(tokenizer.encode(row.transcript))),
        ("size.json", _encode_json(resampled)),
        ("json", _encode_json(described)),
    )
    facts = {
        "vid": row.vid,
        "num_frames": len(clip.frames),
        "device": clip.device,
        "fallback": clip.fallback,
        "pixels": clip.pixels.summary,
        "source_sha256": staged.sha256,
    }
    seconds = {"encode": time.perf_counter() - started}
    return EncodedSample(key=item.key, members=members, facts=facts, seconds=seconds)


def resample_sizes(sizes: Sequence[float], num_frames: int) -> list[float]:
    """Return one size per frame: the one at the floor of k * len(sizes) / num_frames.

    Frames of a clip are chosen by the same rule, so that sizes and frames stay aligned. A size is
    how large the subject of the transcript is in the picture.

    Args:
        sizes: At least one, evenly spaced over the clip.
        num_frames: Frames of the sample.

    Raises:
        ValueError: If there is no size.
    """
    if not sizes:
        msg = "sizes: expected at least one"
        raise ValueError(msg)
    return [sizes[k * len(sizes) // num_frames] for k in range(num_frames)]


def describe_clip(
    item: SourceItem,
    row: ClipRow,
    staged: StagedFile,
    clip: DecodedClip,
    *,
    tokenizer_name: str,
    fingerprint: str,
) -> dict[str, Any]:
    """Return the `json` member: all facts of a sample, in a fixed order.

    `timestamps_s` are the presentation times of the kept frames, in seconds from the start of the
    video that `begin_s` and `end_s` refer to, also if a clip of it was decoded.
    """
    facts = clip.facts
    return {
        "key": item.key,
        "vid": row.vid,
        "split": item.split,
        "transcript": row.transcript,
        "begin_s": row.begin_ms / 1000,
        "end_s": row.end_ms / 1000,
        "shape": list(clip.frames.shape),
        "dtype": clip.frames.dtype.name,
        "axes": "t h w c",
        "color": "RGB",
        "timestamps_s": _place_times(clip, row.begin_ms),
        "times_from": "start of the video",
        "num_segment_frames": clip.num_segment_frames,
        "size": row.size,
        "decoder": {
            "device": clip.device,
            "codec": facts.codec,
            "pixel_format": facts.pixel_format,
            "fallback": clip.fallback,
        },
        "resize": RESIZE,
        "pixels": asdict(clip.pixels),
        "tokenizer": tokenizer_name,
        "source": {"uri": staged.uri, "sha256": staged.sha256, "bytes": staged.num_bytes},
        "video": {
            "width": facts.width,
            "height": facts.height,
            "rotation": facts.rotation,
            "mirrored": facts.mirrored,
            "duration_ms": facts.duration_ms,
            "fps": facts.fps,
        },
        "fingerprint": fingerprint,
    }


def _place_times(clip: DecodedClip, begin_ms: int) -> list[float]:
    """Return the timestamps of frames in the video that was decoded, or that its clip was cut from."""
    before_s = (begin_ms - clip.begin_ms) / 1000
    if not before_s:
        return list(clip.timestamps_s)
    # The sum of binary fractions has rounding errors.
    return [round(time_s + before_s, 9) for time_s in clip.timestamps_s]


def _encode_json(document: Mapping[str, Any] | list[float] | None) -> bytes:
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()

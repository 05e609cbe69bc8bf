"""Messages between a pool and its decoder processes: a JSON header and raw bytes.

No pickle: a decoder works on hostile input, and its answers must not be able to run code.
"""

import builtins
import json
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from medassets.errors import (
    GarbledMessageError,
    MedassetsError,
    Reason,
    SampleRejectedError,
    UsageError,
    find_error,
)
from medassets.video.facts import PixelFacts, VideoFacts
from medassets.video.requests import DecodedClip

Bytes: TypeAlias = bytes | memoryview
"""A part of a message; memoryviews have the format of bytes."""

Outcome: TypeAlias = DecodedClip | SampleRejectedError
"""Outcome of one segment."""

_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"mda1"
_MOST_HEADER_BYTES = 1 << 28
_MOST_BODY_BYTES = 1 << 36


@dataclass(frozen=True)
class Message:
    """One message.

    Attributes:
        header: JSON-like values.
        body: Raw bytes, uint8, shape (n,); writable and owned by the reader.
    """

    header: dict[str, Any]
    body: npt.NDArray[np.uint8] = field(repr=False)


def encode_message(header: Mapping[str, Any], body: Bytes = b"") -> list[Bytes]:
    """Return the buffers of one message, in order; the body is not copied."""
    text = json.dumps(header, separators=(",", ":")).encode()
    head = _HEAD.pack(_MAGIC, len(text), len(body)) + text
    return [head, body] if len(body) else [head]


def read_message(fill: Callable[[memoryview], None]) -> Message:
    """Read one message.

    Args:
        fill: Fills a whole buffer with the next bytes, or raises `EOFError`.

    Raises:
        GarbledMessageError: If the bytes are not a message.
        EOFError: If the stream ends before the message does.
    """
    head = bytearray(_HEAD.size)
    fill(memoryview(head))
    magic, header_bytes, body_bytes = _HEAD.unpack(head)
    if magic != _MAGIC or header_bytes > _MOST_HEADER_BYTES or body_bytes > _MOST_BODY_BYTES:
        msg = f"expected a message, got {bytes(head)!r}"
        raise GarbledMessageError(msg)
    text = bytearray(header_bytes)
    fill(memoryview(text))
    body = np.empty(body_bytes, np.uint8)
    fill(body.data)
    return Message(_parse_header(text), body)


def _parse_header(text: bytearray) -> dict[str, Any]:
    try:
        header = json.loads(text)
    except ValueError as error:
        msg = f"expected JSON, got {bytes(text[:80])!r}"
        raise GarbledMessageError(msg) from error
    if not isinstance(header, dict):
        msg = f"expected a JSON object, got {bytes(text[:80])!r}"
        raise GarbledMessageError(msg)
    return header


def encode_outcome(outcome: Outcome) -> list[Bytes]:
    """Return the message that answers one segment."""
    if isinstance(outcome, SampleRejectedError):
        return encode_message(
            {"kind": "rejected", "reason": outcome.reason, "detail": outcome.detail}
        )
    # asdict would copy the frames.
    values = {f.name: getattr(outcome, f.name) for f in fields(outcome) if f.name != "frames"}
    values["facts"], values["pixels"] = asdict(outcome.facts), asdict(outcome.pixels)
    frames = np.ascontiguousarray(outcome.frames)
    header = {"kind": "clip", "shape": frames.shape, "values": values}
    return encode_message(header, frames.reshape(-1).data)


def decode_outcome(message: Message) -> Outcome:
    """Return the outcome of one segment; its frames share the message's body.

    Raises:
        GarbledMessageError: If the message is not the outcome of a segment.
    """
    header = message.header
    try:
        if header["kind"] == "rejected":
            return SampleRejectedError(Reason(header["reason"]), header["detail"])
        values = dict(header["values"])
        values["facts"] = VideoFacts(**values["facts"])
        values["pixels"] = _read_pixels(values["pixels"])
        values["timestamps_s"] = tuple(values["timestamps_s"])
        return DecodedClip(frames=message.body.reshape(header["shape"]), **values)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"expected the answer of a segment, got {header!r:.200}"
        raise GarbledMessageError(msg) from error


def _read_pixels(values: Mapping[str, Any]) -> PixelFacts:
    crop = values["crop"]
    return PixelFacts(**{**values, "crop": None if crop is None else tuple(crop)})


def encode_error(error: MedassetsError | OSError) -> dict[str, Any]:
    """Return the header for an error that ended a call."""
    header: dict[str, Any] = {"kind": "error", "type": type(error).__name__, "text": str(error)}
    if isinstance(error, SampleRejectedError):
        return {**header, "reason": error.reason, "detail": error.detail}
    if isinstance(error, UsageError):
        return {**header, "field": error.field, "what": error.what}
    if isinstance(error, OSError):
        name = os.fspath(error.filename) if isinstance(error.filename, str | os.PathLike) else None
        return {**header, "errno": error.errno, "strerror": error.strerror, "filename": name}
    return header


def decode_error(header: Mapping[str, Any]) -> MedassetsError | OSError:
    """Return the error that ended a call, with its original type."""
    if "reason" in header:
        return SampleRejectedError(Reason(header["reason"]), header["detail"])
    ours = find_error(header["type"])
    if ours is not None and issubclass(ours, UsageError):
        return ours(field=header["field"], what=header["what"])
    if ours is not None:
        return ours(header["text"])
    if header.get("errno") is not None:
        return OSError(header["errno"], header["strerror"], header["filename"])
    theirs = getattr(builtins, header["type"], OSError)
    known = isinstance(theirs, type) and issubclass(theirs, OSError)
    return theirs(header["text"]) if known else OSError(header["text"])

"""Digests of bytes, and one canonical JSON so that equal values have equal digests."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from isal import isal_zlib

from medassets.arrays import BytesLike
from medassets.storage.unreadable import open_regular

_CHUNK_BYTES = 1 << 20


def byte_view(data: BytesLike) -> memoryview:
    """Return the bytes of a C-contiguous buffer, without a copy.

    Raises:
        TypeError: If the buffer is not C-contiguous.
    """
    # The stubs for Python 3.11 do not know that arrays are buffers.
    view = memoryview(cast("bytes", data))
    # A view with a zero in its shape cannot be cast.
    return view.cast("B") if view.nbytes else memoryview(b"")


def sha256_file(path: Path) -> str:
    """Return the lower-case hex SHA-256 of a file's bytes."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_bytes(data: bytes) -> str:
    """Return the lower-case hex SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def hash_share(name: str) -> float:
    """Return a number in [0, 1) that depends on a name only, evenly spread over names."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64


def crc32(data: BytesLike, value: int = 0) -> int:
    """Return the CRC-32 of a buffer, continued from `value`.

    Source: ISO 3309 polynomial, as zlib; isal computes it at memory speed.
    """
    return isal_zlib.crc32(byte_view(data), value)


def crc32_file(path: Path) -> int:
    """Return the CRC-32 of a file's bytes."""
    value = 0
    with open_regular(path) as file:
        while chunk := file.read(_CHUNK_BYTES):
            value = crc32(chunk, value)
    return value


def canonical_json(value: Any) -> bytes:
    """Encode a JSON-like value so that equal values give equal bytes.

    Keys are sorted, no white space is added, text stays UTF-8.

    Raises:
        ValueError: If the value holds NaN or an infinity.
        TypeError: If the value is not JSON-like.
    """
    text = json.dumps(
        value, sort_keys=True, allow_nan=False, ensure_ascii=False, separators=(",", ":")
    )
    return text.encode()


def parse_json(content: bytes | bytearray | str) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: If it is not JSON, is nested too deep, or has a number of too many digits.
    """
    try:
        return json.loads(content)
    except RecursionError:
        msg = "JSON that is nested too deep"
    raise ValueError(msg)


def fingerprint(value: Any) -> str:
    """Return the hex SHA-256 of a value's canonical JSON."""
    return sha256_bytes(canonical_json(value))

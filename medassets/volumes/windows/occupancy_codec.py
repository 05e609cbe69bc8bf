"""Encodes the bits of a mask: raw, or as one Zstandard frame."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike
from medassets.errors import ShardIntegrityError

Encoding = Literal["raw", "zstd"]
Compression = Literal["none", "auto"]

# Level 1 with a smaller match table: same size and reading speed, writes up to a fifth faster.
# Level 3 is slower and no smaller; levels below 0 are larger and hardly faster to read
# (docs/decisions.md).
_PARAMETERS = {"window_log": 19, "hash_log": 12, "min_match": 7, "target_length": 0}
_WORTH_IT = 0.9
# Inflating 512 x 512 x 512 takes about 5 ms plus 2.5 ms per MB of frame; 100,000 points take 8 ms
# without it. A frame larger than an eighth (2.1 MB) would bring them close to 20 ms.
_QUICK_SHARE = 8
_USUAL_BYTES = 512**3 // 8


def encode_bits(
    bits: npt.NDArray[np.uint8], *, compression: Compression
) -> tuple[Encoding, BytesLike]:
    """Encode bits for storage.

    Args:
        bits: uint8, a whole number of blocks.
        compression: `auto` compresses what becomes at least 10 % smaller and is inflated quickly:
            the frame takes at most an eighth of the bits, or of those of 512 x 512 x 512 if the mask
            is smaller.

    Returns:
        The encoding, and the content of the member.
    """
    if compression == "auto":
        import zstandard

        parameters = zstandard.ZstdCompressionParameters(
            strategy=zstandard.STRATEGY_FAST, write_content_size=True, **_PARAMETERS
        )
        compressor = zstandard.ZstdCompressor(compression_params=parameters)
        frame = compressor.compress(bits)  # pyright: ignore[reportArgumentType]
        quick = max(bits.nbytes, _USUAL_BYTES) // _QUICK_SHARE
        if len(frame) <= min(quick, _WORTH_IT * bits.nbytes):
            return "zstd", frame
    return "raw", bits


def decode_bits(content: BytesLike, encoding: str, *, num_bytes: int) -> npt.NDArray[np.uint8]:
    """Decode the bits of a stored mask; allocates no more memory than `num_bytes`.

    Raises:
        ShardIntegrityError: If the content is not `num_bytes` of bits in that encoding.
    """
    bits = np.empty(num_bytes, np.uint8)
    done = 0
    for piece in iter_bits(content, encoding, num_bytes=num_bytes, buffer=bits):
        done += len(piece)
    assert done == num_bytes
    return bits


def iter_bits(
    content: BytesLike, encoding: str, *, num_bytes: int, buffer: npt.NDArray[np.uint8]
) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the bits of a stored mask in pieces no larger than a buffer.

    Args:
        content: Content of the member.
        encoding: `raw` or `zstd`.
        num_bytes: Length of the bits.
        buffer: uint8; holds one inflated piece after the other.

    Raises:
        ShardIntegrityError: If the content is not `num_bytes` of bits in that encoding.
    """
    if encoding == "raw":
        view = np.frombuffer(content, np.uint8)
        if len(view) != num_bytes:
            msg = f"bits: expected {num_bytes:,} bytes, got {len(view):,}"
            raise ShardIntegrityError(msg)
        for start in range(0, num_bytes, len(buffer)):
            piece = buffer[: min(len(buffer), num_bytes - start)]
            piece[:] = view[start : start + len(piece)]
            yield piece
    elif encoding == "zstd":
        yield from _inflate(content, num_bytes, buffer)
    else:
        msg = f"bits: encoding {encoding!r} is not known; expected raw or zstd"
        raise ShardIntegrityError(msg)


def _inflate(
    content: BytesLike, num_bytes: int, buffer: npt.NDArray[np.uint8]
) -> Iterator[npt.NDArray[np.uint8]]:
    import zstandard

    left = num_bytes
    # A frame may request a window of gigabytes; ours need no more than their length.
    window = 1 << max(10, math.ceil(math.log2(max(num_bytes, 1))))
    inflater = zstandard.ZstdDecompressor(max_window_size=window)
    try:
        with inflater.stream_reader(content) as stream:  # pyright: ignore[reportArgumentType]
            while left:
                piece = buffer[: min(len(buffer), left)]
                _fill(stream, piece)
                left -= len(piece)
                yield piece
            if stream.read(1):
                msg = f"bits: the frame holds more than {num_bytes:,} bytes"
                raise ShardIntegrityError(msg)
    except zstandard.ZstdError as error:
        msg = f"bits: not a Zstandard frame of {num_bytes:,} bytes ({error})"
        raise ShardIntegrityError(msg) from error


def _fill(stream: Any, piece: npt.NDArray[np.uint8]) -> None:
    done = 0
    while done < len(piece):
        count = stream.readinto(piece[done:])
        if not count:
            msg = "bits: the frame ends too early"
            raise ShardIntegrityError(msg)
        done += count

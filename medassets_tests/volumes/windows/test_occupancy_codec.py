"""Bits of masks, stored and read again."""

import numpy as np
import pytest
import zstandard

from medassets.errors import ShardIntegrityError
from medassets.volumes.windows.occupancy import pack_mask
from medassets.volumes.windows.occupancy_codec import decode_bits, encode_bits, iter_bits


def make_bits() -> np.ndarray:
    mask = np.zeros((64, 64, 16), np.bool_)
    mask[10:30, 5:60, 3:9] = True
    return pack_mask(mask).bits


NOISE = np.random.default_rng(0).integers(0, 256, 8192, dtype=np.uint8)


@pytest.mark.parametrize("compression", ["none", "auto"])
def test_what_is_stored_is_read(compression: str) -> None:
    bits = make_bits()
    encoding, content = encode_bits(bits, compression=compression)  # pyright: ignore[reportArgumentType]
    assert encoding == {"none": "raw", "auto": "zstd"}[compression]
    np.testing.assert_array_equal(decode_bits(content, encoding, num_bytes=len(bits)), bits)


@pytest.mark.parametrize("compression", ["none", "auto"])
@pytest.mark.parametrize("length", [512, 5000, 100_000])
def test_pieces_make_the_whole(compression: str, length: int) -> None:
    bits = make_bits()
    encoding, content = encode_bits(bits, compression=compression)  # pyright: ignore[reportArgumentType]
    buffer = np.empty(length, np.uint8)
    pieces = iter_bits(content, encoding, num_bytes=len(bits), buffer=buffer)
    np.testing.assert_array_equal(np.concatenate([piece.copy() for piece in pieces]), bits)


def test_noise_is_stored_raw() -> None:
    encoding, content = encode_bits(NOISE, compression="auto")
    assert encoding == "raw"
    assert content is NOISE


def make_noise(num_voxels: int, share: float) -> np.ndarray:
    """Bits of which a share is set by chance, the others not."""
    flags = np.random.default_rng(0).random(num_voxels, dtype=np.float32) < share
    return np.packbits(flags, bitorder="little")


@pytest.mark.parametrize(("side", "encoding"), [(256, "zstd"), (512, "raw")])
def test_masks_that_would_take_long_to_inflate_are_stored_raw(side: int, encoding: str) -> None:
    bits = make_noise(side**3, 0.03)
    frame = zstandard.ZstdCompressor(level=1).compress(bits.tobytes())
    assert len(bits) / 8 < len(frame) < len(bits) / 2
    assert encode_bits(bits, compression="auto")[0] == encoding


def test_large_masks_that_shrink_to_a_tenth_are_compressed() -> None:
    bits = make_noise(512**3, 0.004)
    encoding, content = encode_bits(bits, compression="auto")
    assert encoding == "zstd"
    assert len(content) < len(bits) / 8


def test_equal_bits_give_equal_bytes() -> None:
    one, other = (encode_bits(make_bits(), compression="auto")[1] for _ in range(2))
    assert one == other


FRAME = zstandard.ZstdCompressor(level=1).compress(NOISE.tobytes())


def stream(content: bytes, *, window_log: int) -> bytes:
    """A frame that does not say how long its content is."""
    parameters = zstandard.ZstdCompressionParameters(
        window_log=window_log, write_content_size=False
    )
    compressor = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    return compressor.compress(content) + compressor.flush()


BROKEN = {
    "short raw": (bytes(100), "raw", "expected 8,192 bytes, got 100"),
    "long raw": (bytes(10_000), "raw", "expected 8,192 bytes, got 10,000"),
    "short frame": (FRAME[:-100], "zstd", "ends too early|not a Zstandard"),
    "empty frame": (b"", "zstd", "ends too early"),
    "no frame": (b"nothing of the kind" * 9, "zstd", "not a Zstandard frame"),
    "bomb": (
        zstandard.ZstdCompressor().compress(bytes(10**8)),
        "zstd",
        "not a Zstandard|more than",
    ),
    "hidden bomb": (stream(bytes(10**8), window_log=10), "zstd", "more than 8,192"),
    "small frame": (zstandard.ZstdCompressor().compress(bytes(900)), "zstd", "ends too early"),
    "wide window": (stream(bytes(8192), window_log=27), "zstd", "not a Zstandard frame"),
    "other encoding": (FRAME, "brotli", "'brotli' is not known"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_other_content_is_refused(case: str) -> None:
    content, encoding, message = BROKEN[case]
    with pytest.raises(ShardIntegrityError, match=message):
        decode_bits(content, encoding, num_bytes=8192)

"""Reads arrays from shards into tensors."""

import math
import reprlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medassets.arrays import BytesLike
from medassets.errors import ShardIntegrityError
from medassets.loaders.batch_memory import POOL, empty_batch
from medassets.loaders.index import IndexedSample
from medassets.loaders.members import ShardReader
from medassets.storage.formats.npy import measure_npy_header, parse_npy_header, read_dtype

_HEADER_BYTES = 256
_MAX_AXES, _MAX_VALUES = 32, 1 << 48
TILE_BYTES = 1 << 19
"""Size of the tiles that are read and widened in turn: a tile is still in the cache when widened."""

_NAMES = {torch.float16: "float16", torch.float32: "float32", torch.uint8: "uint8"}


@dataclass(frozen=True)
class StoredArray:
    """One array in a shard.

    Attributes:
        sample: Sample of the array.
        suffix: Member of the array.
        header_bytes: Bytes before the first value.
        shape: Shape of the array.
        dtype: dtype of the array, with byte order.
        fortran: Whether the first axis is contiguous instead of the last.
    """

    sample: IndexedSample
    suffix: str
    header_bytes: int
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool = False

    @property
    def num_bytes(self) -> int:
        """Size of the values."""
        return math.prod(self.shape) * self.dtype.itemsize


def describe_npy(reader: ShardReader, sample: IndexedSample, suffix: str) -> StoredArray:
    """Read the header of a `.npy` member.

    Raises:
        ShardIntegrityError: If it is not an array of numbers, is empty, or has another length than
            its header says.
    """
    start = reader.read_start(sample, suffix, _HEADER_BYTES)
    try:
        size = measure_npy_header(start)
        if size > len(start):
            start = reader.read_start(sample, suffix, size)
        shape, fortran, dtype = parse_npy_header(start)
    except ShardIntegrityError:
        raise
    except ValueError as error:
        what = f"member .{suffix} is not an array of plain numbers ({error})"
        raise reader.index.damage(sample, what) from error
    # A vector is contiguous in both orders and needs no transpose.
    turned = fortran and len(shape) > 1
    return _checked(reader, StoredArray(sample, suffix, size, shape, dtype, turned))


def describe_raw(
    reader: ShardReader, sample: IndexedSample, suffix: str, document: Mapping[str, Any]
) -> StoredArray:
    """Describe a `.bin` member with the shape and dtype of the `json` member.

    Args:
        reader: Reader of the shards.
        sample: The sample.
        suffix: The member with the values, C order, little-endian.
        document: Content of the json member; `shape` or `volume_shape`, and `dtype` or `volume_dtype`.

    Raises:
        ShardIntegrityError: If either is missing or does not match the member's length.
    """
    shape = document.get("shape", document.get("volume_shape"))
    name = document.get("dtype", document.get("volume_dtype"))
    try:
        dtype = read_dtype(name).newbyteorder("<")
        sides = _read_sides(shape)
    except ValueError as error:
        said = name[:40] if isinstance(name, str) else reprlib.repr(name)
        what = (
            f"its json says shape {reprlib.repr(shape)} and dtype {said}; expected such as "
            "[480, 480, 240], float16"
        )
        raise reader.index.damage(sample, what) from error
    return _checked(reader, StoredArray(sample, suffix, 0, sides, dtype))


def _read_sides(shape: object) -> tuple[int, ...]:
    sides = tuple(shape) if isinstance(shape, list) else ()
    if not 0 < len(sides) <= _MAX_AXES or any(type(side) is not int for side in sides):
        msg = "expected a list of integers"
        raise ValueError(msg)
    if max(sides) > _MAX_VALUES:
        msg = f"expected at most {_MAX_VALUES:,} values"
        raise ValueError(msg)
    return sides


def _checked(reader: ShardReader, stored: StoredArray) -> StoredArray:
    if min(stored.shape, default=1) < 1:
        what = f"member .{stored.suffix} is of shape {stored.shape}, which holds no value"
        raise reader.index.damage(stored.sample, what)
    expected = stored.header_bytes + stored.num_bytes
    found = stored.sample.members[stored.suffix].size_bytes
    if expected != found:
        what = (
            f"member .{stored.suffix} has {found:,} bytes; {stored.dtype.name} of shape "
            f"{stored.shape} takes {expected:,}"
        )
        raise reader.index.damage(stored.sample, what)
    return stored


def read_stack(
    reader: ShardReader, stored: Sequence[StoredArray], dtype: torch.dtype
) -> torch.Tensor:
    """Read arrays of one shape into one tensor for a batch.

    Returns:
        Shape (b, ...), C order, in memory from `empty_batch`.

    Raises:
        ValueError: If shapes differ; the message names two samples.
        ShardIntegrityError: If an array is damaged.
    """
    first = stored[0]
    for other in stored:
        if other.shape != first.shape:
            msg = (
                f"{first.sample.key} has shape {first.shape}, {other.sample.key} {other.shape}: no "
                "batch can hold both; use batch_size=1, or make shards of one shape"
            )
            raise ValueError(msg)
    batch = empty_batch((len(stored), *first.shape), dtype)
    for one, out in zip(stored, batch, strict=True):
        read_array(reader, one, out)
    return batch


def read_array(reader: ShardReader, stored: StoredArray, out: torch.Tensor) -> None:
    """Read one array into a tensor, converted to the tensor's dtype if that is wider.

    Args:
        reader: Reader of the shards.
        stored: The array.
        out: C-contiguous, of the array's shape.

    Raises:
        ShardIntegrityError: If the array is damaged.
        ValueError: If the tensor's dtype cannot represent every stored value.
    """
    wanted = np.dtype(_NAMES[out.dtype])
    if not np.can_cast(stored.dtype, wanted, "safe"):
        msg = (
            f"{reader.index.paths[stored.sample.shard]}: {stored.sample.key}: stored as "
            f"{stored.dtype.name}, which {wanted.name} cannot hold; {_find_remedy(stored.dtype)}"
        )
        raise ValueError(msg)
    if stored.fortran:
        pieces = _transpose(stored, out)
    elif stored.dtype == wanted:
        pieces = [out.view(-1).view(torch.uint8).numpy()]
    else:
        pieces = _widen(stored, out)
    reader.fill(stored.sample, stored.suffix, _after_header(stored, pieces))


def _find_remedy(stored: np.dtype[Any]) -> str:
    if np.can_cast(stored, np.float32, "safe"):
        return "ask for dtype='float32'"
    narrower = "float32" if stored.kind == "f" else "int16 or float32"
    return f"no dtype of the loader can: convert the arrays to {narrower} and pack the shards again"


def _after_header(
    stored: StoredArray, pieces: Sequence[BytesLike] | Iterator[BytesLike]
) -> Iterator[BytesLike]:
    # Read again, because the checksum covers it.
    yield bytearray(stored.header_bytes)
    yield from pieces


def _widen(stored: StoredArray, out: torch.Tensor) -> Iterator[BytesLike]:
    itemsize, flat = stored.dtype.itemsize, out.view(-1).numpy()
    widen = _choose_widening(stored.dtype, flat.dtype)
    scratch = POOL.lend((TILE_BYTES,), "u1")
    step = TILE_BYTES // itemsize
    values = scratch.view(stored.dtype)
    for start in range(0, len(flat), step):
        target = flat[start : start + step]
        yield scratch[: len(target) * itemsize]
        widen(values[: len(target)], target)


def _choose_widening(stored: np.dtype[Any], wanted: np.dtype[Any]) -> Callable[..., None]:
    if stored == np.float16 and stored.isnative and wanted == np.float32:
        # Imported only for float32: numba takes half a second.
        from medassets.loaders.widen_kernel import widen_half

        return widen_half
    return lambda values, out: np.copyto(out, values)


def _transpose(stored: StoredArray, out: torch.Tensor) -> Iterator[BytesLike]:
    """Read an array in Fortran order, as `numpy.save` writes a transposed one."""
    scratch = POOL.lend((stored.num_bytes,), "u1")
    yield scratch
    values = scratch.view(stored.dtype).reshape(stored.shape, order="F")
    np.copyto(out.numpy(), values)

"""Masks with one bit per voxel and a rank index: points are sampled without listing all of them.

The bits are in the order in which NIfTI stores voxels, the first axis fastest: voxel (i, j, k) of
a mask (I, J, K) is bit `n = i + I * (j + J * k)`, in byte `n // 8` at position `n % 8`. Zero bits
fill the last block of 4096. `rank[b]` is the number of set bits before block b; its last entry is
the number of points. To find the r-th point: the block by `rank`, the word by counting, the bit.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import ShardIntegrityError

BLOCK_BITS = 4096
"""Voxels per block of the rank index: 512 bytes of bits; the index adds 0.8 %."""

BLOCK_BYTES = BLOCK_BITS // 8
MOST_VOXELS = (1 << 32) - 1
"""Maximum number of voxels that uint32 can count; 1024 x 1024 x 1024 is a quarter of it."""

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Occupancy:
    """One mask.

    Attributes:
        bits: uint8 (num_blocks * 512,).
        rank: uint32 (num_blocks + 1,).
        shape: Sides (I, J, K), the first one fastest.

    Raises:
        ShardIntegrityError: If bits, rank and shape do not belong together. Counts of single
            blocks are compared when points are drawn.
    """

    bits: npt.NDArray[np.uint8] = field(repr=False)
    rank: npt.NDArray[np.uint32] = field(repr=False)
    shape: Shape

    def __post_init__(self) -> None:
        check_rank(self.rank, self.shape)
        expected = count_blocks_of(self.shape) * BLOCK_BYTES
        if self.bits.dtype != np.uint8 or self.bits.shape != (expected,):
            msg = (
                f"bits of a mask {self.shape}: expected uint8 ({expected},), got "
                f"{self.bits.dtype} {self.bits.shape}"
            )
            raise ShardIntegrityError(msg)
        check_end(self.bits, self.shape)

    @property
    def num_points(self) -> int:
        """Number of set voxels."""
        return int(self.rank[-1])

    def sample(self, num: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        """Sample points uniformly without replacement.

        Args:
            num: How many; at most all.
            rng: Where chance comes from; equal states draw equal points.

        Returns:
            Positions (i, j, k), int64 (num, 3), in the order of the bits.

        Raises:
            ValueError: If there are fewer points.
            ShardIntegrityError: If a block does not hold the points that the index says.
        """
        return self.select(draw_ranks(self.num_points, num, rng))

    def select(
        self, ranks: npt.NDArray[np.int64], *, reverse: bool = False
    ) -> npt.NDArray[np.int64]:
        """Return the points with these numbers.

        Args:
            ranks: Numbers of points in the order of the bits, int64 (num,), ascending.
            reverse: Return (k, j, i): masks stored last axis fastest have their shape reversed.

        Returns:
            Positions, int64 (num, 3).

        Raises:
            ShardIntegrityError: If a block does not hold the points that the index says.
        """
        out = np.empty((len(ranks), 3), np.int64)
        pick_points(self.bits, self.rank, self.shape, picked=ranks, out=out, reverse=reverse)
        return out

    def points(self, dtype: npt.DTypeLike = np.int64, *, reverse: bool = False) -> npt.NDArray[Any]:
        """Return all points.

        Args:
            dtype: Integer type of the positions; int16 is enough for all resolutions.
            reverse: Return (k, j, i), as `select` does.

        Returns:
            Positions (i, j, k), shape (num_points, 3), in the order of the bits.

        Raises:
            ShardIntegrityError: If there are not as many points as the index says.
        """
        from medassets.volumes.windows.occupancy_kernel import list_points

        out = np.empty((self.num_points, 3), dtype)
        found = list_points(_view_words(self.bits), self.shape[:2], _columns(reverse), out)
        if found != self.num_points:
            msg = f"the index counts {self.num_points:,} points, the bits hold {found:,}"
            raise ShardIntegrityError(msg)
        return out

    def dense(self) -> npt.NDArray[np.uint8]:
        """Return the mask as 0 and 1, uint8 (I, J, K), the first axis fastest in memory."""
        flat = np.unpackbits(self.bits, count=math.prod(self.shape), bitorder="little")
        return flat.reshape(self.shape, order="F")


def pack_mask(mask: npt.NDArray[Any]) -> Occupancy:
    """Pack a mask.

    Args:
        mask: Shape (I, J, K); what is not 0 is set. Packing needs no copy of it where it is bool or
            uint8 with the first axis fastest.
    """
    flat = mask.reshape(-1, order="F")
    if flat.dtype not in (np.bool_, np.uint8):
        flat = flat != 0
    sides = mask.shape
    shape = (sides[0], sides[1], sides[2])
    bits = np.zeros(count_blocks_of(shape) * BLOCK_BYTES, np.uint8)
    packed = np.packbits(flat, bitorder="little")
    bits[: packed.size] = packed
    return Occupancy(bits, count_blocks(bits), shape)


def count_blocks(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint32]:
    """Return the rank index of some bits.

    Args:
        bits: uint8, a whole number of blocks.

    Returns:
        uint32 (num_blocks + 1,): set bits before each block, then all.
    """
    from medassets.volumes.windows.occupancy_kernel import count_blocks as count

    rank = np.empty(len(bits) // BLOCK_BYTES + 1, np.uint32)
    count(_view_words(bits), rank)
    return rank


def count_blocks_of(shape: Shape) -> int:
    """Return the number of blocks of a mask."""
    return -(-math.prod(shape) // BLOCK_BITS)


def draw_ranks(total: int, num: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Sample numbers from range(total); every set of `num` is equally likely.

    Numbers are drawn until enough of them differ; where more than half are wanted, those to be left
    out. `Generator.choice` would list all `total` numbers as soon as it wants 2 % of them, which
    takes 320 MB for 40 million points.

    Args:
        total: How many there are.
        num: How many are wanted.
        rng: Where chance comes from.

    Returns:
        int64 (num,), ascending.

    Raises:
        ValueError: If more are wanted than there are.
    """
    if not 0 <= num <= total:
        msg = f"num: expected 0 to {total} points, got {num}"
        raise ValueError(msg)
    if num > total // 2:
        kept = np.ones(total, np.bool_)
        kept[draw_ranks(total, total - num, rng)] = False
        return np.flatnonzero(kept)
    picked = np.empty(0, np.uint32)
    while picked.size < num:
        more = rng.integers(0, total, num - picked.size, dtype=np.uint32)
        picked = _sort_different(np.concatenate([picked, more]))
    return picked.astype(np.int64)


def pick_points(
    bits: npt.NDArray[np.uint8],
    rank: npt.NDArray[np.uint32],
    shape: Shape,
    *,
    picked: npt.NDArray[np.int64],
    out: npt.NDArray[np.int64],
    first_block: int = 0,
    reverse: bool = False,
) -> None:
    """Write the selected points of some blocks; a mask may be read in pieces.

    Args:
        bits: Consecutive blocks, uint8.
        rank: Index of the whole mask, as `check_rank` has seen it.
        shape: Sides of the mask, the first one fastest.
        picked: Numbers of points, ascending; of the whole mask.
        out: int64 (picked, 3); only the rows of points in these blocks are written.
        first_block: Number of the first of these blocks.
        reverse: Write (k, j, i) rather than (i, j, k).

    Raises:
        ShardIntegrityError: If a block does not hold as many points as the index says.
    """
    from medassets.volumes.windows.occupancy_kernel import select_points

    here = rank[first_block : first_block + len(bits) // BLOCK_BYTES + 1]
    start, stop = (int(at) for at in np.searchsorted(picked, [int(here[0]), int(here[-1])]))
    rows = slice(start, stop)
    bad = select_points(
        _view_words(bits), here, first_block, picked[rows], shape[:2], _columns(reverse), out[rows]
    )
    if bad >= 0:
        expected = int(here[bad + 1]) - int(here[bad])
        msg = f"block {first_block + bad} does not hold the {expected} points of the index"
        raise ShardIntegrityError(msg)


def check_rank(rank: npt.NDArray[np.uint32], shape: Shape) -> None:
    """Refuse an index that cannot belong to a mask of this shape.

    Raises:
        ShardIntegrityError: If sides, length or counts are impossible.
    """
    if len(shape) != 3 or min(shape) < 1 or math.prod(shape) > MOST_VOXELS:
        msg = f"shape of a mask: expected three sides, at most {MOST_VOXELS:,} voxels, got {shape}"
        raise ShardIntegrityError(msg)
    num_blocks = count_blocks_of(shape)
    if rank.dtype != np.uint32 or rank.shape != (num_blocks + 1,):
        msg = (
            f"rank of a mask {shape}: expected uint32 ({num_blocks + 1},), got "
            f"{rank.dtype} {rank.shape}"
        )
        raise ShardIntegrityError(msg)
    steps = np.diff(rank.astype(np.int64))
    if rank[0] or steps.min() < 0 or steps.max() > BLOCK_BITS or rank[-1] > math.prod(shape):
        msg = f"rank of a mask {shape}: expected 0 first, then 0 to {BLOCK_BITS} more per block"
        raise ShardIntegrityError(msg)


def check_end(bits: npt.NDArray[np.uint8], shape: Shape) -> None:
    """Refuse set bits after the last voxel.

    Args:
        bits: The last block or more, up to the end of the mask.
        shape: Sides of the mask.

    Raises:
        ShardIntegrityError: If there are any.
    """
    behind = count_blocks_of(shape) * BLOCK_BITS - math.prod(shape)
    last = np.unpackbits(bits[-BLOCK_BYTES:], bitorder="little")
    if last[BLOCK_BITS - behind :].any():
        msg = f"bits of a mask {shape}: some are set after the last voxel"
        raise ShardIntegrityError(msg)


def _sort_different(numbers: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    from medassets.volumes.windows.occupancy_kernel import sort_numbers

    sort_numbers(numbers, np.empty_like(numbers))
    return numbers[np.append(True, numbers[1:] != numbers[:-1])]


def _columns(reverse: bool) -> Shape:
    return (2, 1, 0) if reverse else (0, 1, 2)


def _view_words(bits: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint64]:
    # Selecting requires little-endian words (bit n of a word is voxel n); counting does not.
    return bits.view("<u8")

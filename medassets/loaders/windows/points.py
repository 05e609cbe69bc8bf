"""Points of one mask, wherever it is kept: drawn by their numbers, without listing the others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medassets.volumes.windows.occupancy import Occupancy

PIECE_BYTES = 1 << 20
"""What is read at a time: it stays in the processor's cache until it has been looked through."""

Pick = Callable[[int], npt.NDArray[np.int64]]
"""Number of points -> numbers of those wanted, int64, ascending."""

_LARGEST_INDEX = (1 << 31) - 1


@dataclass(frozen=True)
class Points:
    """Some points of one mask.

    Attributes:
        index: Positions (i, j, k), int64 (num, 3), C-contiguous.
        values: Stored values, float32 (num, 1); None where all of them are 1.
    """

    index: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32] | None


class PointSource(Protocol):
    """Where the points of one instance come from: a file, a shard, or memory."""

    def draw(self, pick: Pick) -> Points:
        """Return the points that are picked.

        Raises:
            MedassetsError: If the mask cannot be read; names file and sample.
        """
        ...

    def keep(self, *, sparse: bool) -> "KeptSource":
        """Read everything once and return it, to be drawn from memory from now on.

        Args:
            sparse: Keep positions only where the source holds a dense volume.

        Raises:
            MedassetsError: If the mask cannot be read; names file and sample.
        """
        ...

    @property
    def most_bytes(self) -> int:
        """What `keep` would take at most."""
        ...


class KeptSource(Protocol):
    """A mask in memory."""

    def draw(self, pick: Pick) -> Points:
        """Return the points that are picked."""
        ...

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        ...


@dataclass(frozen=True)
class KeptMask:
    """A mask at one bit per voxel.

    Attributes:
        occupancy: The mask.
        reverse: Whether it is stored last axis fastest, its sides turned round.
        values: Values in the order of the bits; None where all of them are 1.
    """

    occupancy: Occupancy
    reverse: bool = False
    values: npt.NDArray[Any] | None = None

    def draw(self, pick: Pick) -> Points:
        """Return the points that are picked."""
        picked = pick(self.occupancy.num_points)
        index = self.occupancy.select(picked, reverse=self.reverse)
        return Points(index, None if self.values is None else as_values(self.values[picked]))

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        more = 0 if self.values is None else self.values.nbytes
        return self.occupancy.bits.nbytes + self.occupancy.rank.nbytes + more


@dataclass(frozen=True)
class KeptList:
    """Points listed one by one.

    Attributes:
        index: Positions, any integer type, shape (num, 3).
        values: One each; None where all of them are 1.
    """

    index: npt.NDArray[Any]
    values: npt.NDArray[Any] | None

    def draw(self, pick: Pick) -> Points:
        """Return the points that are picked."""
        picked = pick(len(self.index))
        values = None if self.values is None else as_values(self.values[picked])
        return Points(as_index(self.index[picked]), values)

    @property
    def num_bytes(self) -> int:
        """Memory it takes."""
        return self.index.nbytes + (0 if self.values is None else self.values.nbytes)


def as_values(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return stored values as float32 (num, 1)."""
    return values.astype(np.float32).reshape(-1, 1)


def as_index(index: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return positions as int64 (num, 3)."""
    return np.ascontiguousarray(index, dtype=np.int64)


def check_index(index: npt.NDArray[Any]) -> None:
    """Refuse positions that lie in no volume.

    Raises:
        ValueError: If one is negative, as int16 is after an overflow, or larger than int32 holds.
    """
    if index.size and (index.min() < 0 or index.max() > _LARGEST_INDEX):
        msg = f"positions: expected 0 to {_LARGEST_INDEX:,}, got {index.min()} to {index.max()}"
        raise ValueError(msg)

"""Points of one mask in a file, a shard or memory; selected by number, without listing all."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from medassets.volumes.windows.occupancy import Occupancy

PIECE_BYTES = 1 << 20
"""Size of one read: it stays in the processor's cache until it is processed."""

Pick = Callable[[int], npt.NDArray[np.int64]]
"""Number of points -> numbers of the selected ones, int64, ascending."""

_LARGEST_INDEX = (1 << 31) - 1


@dataclass(frozen=True)
class Points:
    """Some points of one mask.

    Attributes:
        index: Positions (i, j, k), int64 (num, 3), C-contiguous.
        values: Stored values, float32 (num, 1); None if all are 1.
    """

    index: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32] | None


class PointSource(Protocol):
    """Reads the points of one instance from a file or a shard."""

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects.

        Raises:
            MedassetsError: If the mask cannot be read; the message names file and sample.
        """
        ...

    def keep(self, *, sparse: bool) -> "KeptSource":
        """Read the whole mask into memory.

        Args:
            sparse: Keep only one bit per voxel of a dense volume.

        Raises:
            MedassetsError: If the mask cannot be read; the message names file and sample.
        """
        ...

    @property
    def most_bytes(self) -> int:
        """Upper limit of the memory that `keep` takes, in bytes."""
        ...


class KeptSource(Protocol):
    """A mask in memory."""

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects."""
        ...

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        ...


@dataclass(frozen=True)
class KeptMask:
    """A mask with one bit per voxel.

    Attributes:
        occupancy: The mask.
        reverse: Whether the last axis of the volume is contiguous (the first axis of `occupancy`).
        values: Values in the order of the bits; None if all are 1.
    """

    occupancy: Occupancy
    reverse: bool = False
    values: npt.NDArray[Any] | None = None

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects."""
        picked = pick(self.occupancy.num_points)
        index = self.occupancy.select(picked, reverse=self.reverse)
        return Points(index, None if self.values is None else as_values(self.values[picked]))

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        more = 0 if self.values is None else self.values.nbytes
        return self.occupancy.bits.nbytes + self.occupancy.rank.nbytes + more


@dataclass(frozen=True)
class KeptList:
    """Points listed one by one.

    Attributes:
        index: Positions, any integer dtype, shape (num, 3).
        values: One value per position; None if all are 1.
    """

    index: npt.NDArray[Any]
    values: npt.NDArray[Any] | None

    def draw(self, pick: Pick) -> Points:
        """Return the points that `pick` selects."""
        picked = pick(len(self.index))
        values = None if self.values is None else as_values(self.values[picked])
        return Points(as_index(self.index[picked]), values)

    @property
    def num_bytes(self) -> int:
        """Size in memory."""
        return self.index.nbytes + (0 if self.values is None else self.values.nbytes)


def as_values(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Return stored values as float32 (num, 1)."""
    return values.astype(np.float32).reshape(-1, 1)


def as_index(index: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Return positions as int64 (num, 3)."""
    return np.ascontiguousarray(index, dtype=np.int64)


def check_index(index: npt.NDArray[Any]) -> None:
    """Refuse positions outside any volume.

    Raises:
        ValueError: If one is negative (as int16 is after an overflow) or exceeds int32.
    """
    if index.size and (index.min() < 0 or index.max() > _LARGEST_INDEX):
        msg = f"positions: expected 0 to {_LARGEST_INDEX:,}, got {index.min()} to {index.max()}"
        raise ValueError(msg)

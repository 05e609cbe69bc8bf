"""Count and measure the differences between the values of two volumes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.volumes.files.header import VolumeStream

# Small enough to remain in the cache while it is compared.
_PIECE_VALUES = 1 << 18


@dataclass(frozen=True)
class Tolerance:
    """The largest accepted difference; either limit suffices.

    Attributes:
        steps: In steps between neighbouring float16 values.
        difference: In the unit of the volume.
    """

    steps: int = 0
    difference: float = 0.0


@dataclass
class ValueDifferences:
    """Counts and differences over all values, in the unit of the volume.

    Attributes:
        num_values: All values.
        num_differing: Those that are not equal.
        num_beyond: Those that differ by more than the tolerance, or are not finite.
        num_not_finite: NaN and infinities; `largest` and `total` exclude them.
        largest: Largest difference.
        total: Sum of the differences.
    """

    num_values: int = 0
    num_differing: int = 0
    num_beyond: int = 0
    num_not_finite: int = 0
    largest: float = 0.0
    total: float = 0.0

    @property
    def share(self) -> float:
        """Share of the values that differ."""
        return self.num_differing / self.num_values if self.num_values else 0.0

    @property
    def mean(self) -> float:
        """Mean difference over all values, including equal ones."""
        return self.total / self.num_values if self.num_values else 0.0

    def __iadd__(self, other: "ValueDifferences") -> "ValueDifferences":
        """Add the counts of other values."""
        for name in ("num_values", "num_differing", "num_beyond", "num_not_finite", "total"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.largest = max(self.largest, other.largest)
        return self

    def __str__(self) -> str:
        """Return the figures as text."""
        if not self.num_differing:
            return "all values equal"
        text = f"{100 * self.share:.4g} % of the values differ"
        text += f", by {self.largest:.4g} at most and {self.mean:.3g} on average"
        return text + (f"; {self.num_not_finite:,} are not finite" if self.num_not_finite else "")


def compare_stream(
    stream: VolumeStream, expected: npt.NDArray[np.float16], *, tolerance: Tolerance
) -> ValueDifferences:
    """Compare a stored array with its expected values, piece by piece, to its end.

    Args:
        stream: Positioned before the first value; float16, of the shape of `expected`.
        expected: Finite, C-contiguous.
        tolerance: The largest accepted difference.

    Raises:
        SampleRejectedError: If the stored array is damaged.
    """
    flat = expected.ravel(order="F" if stream.fortran else "C")
    piece = np.empty(min(_PIECE_VALUES, flat.size), stream.header.dtype)
    found = ValueDifferences()
    for start in range(0, flat.size, _PIECE_VALUES):
        right = flat[start : start + _PIECE_VALUES]
        stream.read_into(piece[: right.size])
        values = piece[: right.size].astype(np.float16, copy=False)
        found += compare_values(values, right, tolerance=tolerance)
    stream.finish()
    return found


def compare_values(
    values: npt.NDArray[np.float16], expected: npt.NDArray[np.float16], *, tolerance: Tolerance
) -> ValueDifferences:
    """Compare values one by one.

    Args:
        values: float16, (n,).
        expected: Likewise; finite.
        tolerance: See `compare_stream`.
    """
    found = ValueDifferences(num_values=values.size)
    (other,) = np.nonzero(values.view(np.uint16) != expected.view(np.uint16))
    if not other.size:
        return found
    there, right = values[other], expected[other]
    finite = np.isfinite(there)
    found.num_not_finite = int(there.size - np.count_nonzero(finite))
    there, right = there[finite], right[finite]
    # Exact: a difference of two float16 is a float64.
    differences = np.abs(there.astype(np.float64) - right)
    steps = np.abs(_number_steps(there) - _number_steps(right))
    found.num_differing = int(np.count_nonzero(differences)) + found.num_not_finite
    beyond = (steps > tolerance.steps) & (differences > tolerance.difference)
    found.num_beyond = int(np.count_nonzero(beyond)) + found.num_not_finite
    found.largest = float(differences.max(initial=0))
    found.total = float(differences.sum())
    return found


def _number_steps(values: npt.NDArray[np.float16]) -> npt.NDArray[Any]:
    """Return integers that neighbouring float16 values are one apart in; both zeros are 0."""
    bits = values.view(np.uint16).astype(np.int32)
    return np.where(bits & 0x8000, -(bits & 0x7FFF), bits)

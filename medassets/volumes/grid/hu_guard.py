"""Counts voxels by HU while they are read, and refuses a volume whose values are not HU of a CT.

Slopes and intercepts that were never applied, applied twice or wrong move soft tissue, air or both. Padding
can look like air where HU were never applied. It has one value, while the air of a scanner has noise:
inner and dark air are voxels that differ from the voxel before them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.grid.hu import HuScaling

PLAUSIBLE_HU = (-200.0, 300.0)
"""Soft tissue, fat and blood, a large share of every chest. Source: design, HU guard."""

AIR_BELOW_HU = -200.0
"""Air, and lung, are below. Source: design, HU guard."""

DARK_AIR_HU = (-1100.0, -700.0)
"""Air outside the patient and most of a lung, with the noise of a scanner.

Source: measured on real scans, 0.33 to 0.42 of the voxels; with half the slope none.
"""

LARGEST_HU = 32_767.0
"""Largest value of int16, above what scanners store, metal included; -1024 read as uint16 is 64,512."""

MAX_BEYOND_SHARE = 0.01
"""Largest accepted share of voxels above `LARGEST_HU`."""

DARK_PART = 0.1
"""Least dark air that is expected, as a part of the least air that is expected."""

DARK_PART_OF_AIR = 0.15
"""Least dark air that is expected, as a part of the inner air.

Source: measured on real scans, 0.89 to 0.94; with 1.5 or 2 times the slope 0.02 to 0.06.
"""

SHARES = ("plausible_share", "air_share", "dark_air_share")
"""Names of the shares of voxels that the guard judges, as samples and records have them."""

Ranges = tuple[float, float, float, float, float, float]
"""Least and largest plausible value, both included; what air is below; what dark air is below, and its
least value, included; what nothing stores is above."""

HU_RANGES: Ranges = (*PLAUSIBLE_HU, AIR_BELOW_HU, DARK_AIR_HU[1], DARK_AIR_HU[0], LARGEST_HU)


@dataclass(frozen=True)
class VoxelStatistics:
    """Statistics of all stored voxels, counted while they are read.

    Attributes:
        num_voxels: All voxels, those cropped away too.
        num_plausible: Voxels within `PLAUSIBLE_HU`, both ends included.
        num_air: Voxels below `AIR_BELOW_HU`, padding included.
        num_inner_air: Those of them that differ from the voxel before them, so that padding does not
            count.
        num_dark_air: Voxels within `DARK_AIR_HU` that differ from the voxel before them.
        num_beyond: Voxels above `LARGEST_HU`.
        num_not_finite: NaN and infinities.
        is_constant: Whether all voxels have one value.
    """

    num_voxels: int
    num_plausible: int
    num_air: int
    num_inner_air: int
    num_dark_air: int
    num_beyond: int
    num_not_finite: int
    is_constant: bool

    @property
    def plausible_share(self) -> float:
        """Share of voxels within `PLAUSIBLE_HU`."""
        return self.num_plausible / self.num_voxels

    @property
    def air_share(self) -> float:
        """Share of voxels below `AIR_BELOW_HU`."""
        return self.num_air / self.num_voxels

    @property
    def dark_air_share(self) -> float:
        """Share of voxels within `DARK_AIR_HU` that differ from the voxel before them."""
        return self.num_dark_air / self.num_voxels


def inside_ranges(low: float, high: float) -> Ranges:
    """Return ranges that count the voxels within [low, high] as plausible, and nothing as air."""
    return low, high, -np.inf, -np.inf, -np.inf, np.inf


class VoxelCounter:
    """Counts the voxels of one volume, piece by piece.

    Args:
        scaling: How stored values become HU, or values of another unit.
        dtype: Stored dtype; its byte order does not matter.
        ranges: What is counted.
    """

    def __init__(
        self, scaling: HuScaling, dtype: np.dtype[Any], *, ranges: Ranges = HU_RANGES
    ) -> None:
        self._scaling, self._limits = scaling, ranges
        self._ranges = find_stored_ranges(scaling, dtype.newbyteorder("="), ranges=ranges)
        self._first: Any = None
        self._num_voxels = 0
        self._counts = [0] * 7

    def add(self, voxels: npt.NDArray[Any]) -> None:
        """Count the next voxels, shape (j, i), native byte order."""
        from medassets.volumes.grid import slice_kernel

        if self._first is None:
            self._first = voxels[0, 0]
        self._num_voxels += voxels.size
        if self._ranges is not None:
            found = (*slice_kernel.measure_integer_slice(voxels, self._ranges, self._first), 0)
        else:
            slope, intercept = self._scaling.slope, self._scaling.intercept
            first = np.float64(self._first)
            found = slice_kernel.measure_slice(voxels, slope, intercept, self._limits, first)
        self._counts = [total + count for total, count in zip(self._counts, found, strict=True)]

    def statistics(self) -> VoxelStatistics:
        """Return the counts over all voxels so far."""
        within, air, inner_air, dark, beyond, unlike, not_finite = self._counts
        return VoxelStatistics(
            num_voxels=self._num_voxels,
            num_plausible=within,
            num_air=air,
            num_inner_air=inner_air,
            num_dark_air=dark,
            num_beyond=beyond,
            num_not_finite=not_finite,
            is_constant=unlike == 0,
        )


def list_hu(scaling: HuScaling, dtype: np.dtype[Any]) -> npt.NDArray[np.float64] | None:
    """Return the HU of every value of an integer dtype of at most 16 bits, by its bits; None for others."""
    if dtype.kind not in "iu" or dtype.itemsize > 2:
        return None
    bits = np.arange(1 << (8 * dtype.itemsize), dtype=f"u{dtype.itemsize}")
    return bits.view(dtype).astype(np.float64) * scaling.slope + scaling.intercept


def find_stored_ranges(
    scaling: HuScaling, dtype: np.dtype[Any], *, ranges: Ranges = HU_RANGES
) -> npt.NDArray[Any] | None:
    """Return the ranges of `slice_kernel.measure_integer_slice`; None for larger dtypes.

    HU are monotonic in stored values, so that the values of a range of HU form one range.

    Args:
        scaling: How stored values become HU.
        dtype: Stored dtype, native.
        ranges: What is counted.
    """
    hu = list_hu(scaling, dtype)
    if hu is None:
        return None
    low, high, air, dark, darkest, highest = ranges
    inside = (
        (hu >= low) & (hu <= high),
        hu < air,
        (hu >= darkest) & (hu < dark),
        hu > highest,
    )
    values = np.arange(len(hu), dtype=f"u{dtype.itemsize}").view(dtype)
    limits = np.iinfo(dtype)
    found = [values[mask] for mask in inside]
    pairs = [(v.min(), v.max()) if len(v) else (limits.max, limits.min) for v in found]
    return np.array(pairs, dtype)


def check_values(statistics: VoxelStatistics) -> None:
    """Refuse a volume without a picture in it.

    Raises:
        SampleRejectedError: NOT_FINITE or CONSTANT_VOLUME.
    """
    if statistics.num_not_finite:
        detail = f"{statistics.num_not_finite} of {statistics.num_voxels} voxels are not finite"
        raise SampleRejectedError(Reason.NOT_FINITE, detail)
    if statistics.is_constant:
        raise SampleRejectedError(Reason.CONSTANT_VOLUME, "all voxels have the same value")


def check_statistics(
    statistics: VoxelStatistics,
    *,
    min_plausible_share: float,
    max_plausible_share: float,
    air_share: tuple[float, float],
) -> None:
    """Refuse a volume whose values cannot be those of a CT in HU.

    Args:
        statistics: Counts over the whole stored volume.
        min_plausible_share: Least share of voxels within `PLAUSIBLE_HU`.
        max_plausible_share: Largest such share.
        air_share: Least and largest share of voxels below `AIR_BELOW_HU`. A tenth of the least, and a
            part of the air that is there, must be dark air. Where the least is 0, nothing is expected
            of air.

    Raises:
        SampleRejectedError: NOT_FINITE, CONSTANT_VOLUME or HU_IMPLAUSIBLE, in this order.
    """
    check_values(statistics)
    if statistics.num_beyond > MAX_BEYOND_SHARE * statistics.num_voxels:
        _refuse(
            f"{statistics.num_beyond / statistics.num_voxels:.4f} of the voxels are above "
            f"{LARGEST_HU:g} HU: negative values of int16 read as unsigned, which adds 65536; store "
            f"the file as signed integers"
        )
    share = statistics.plausible_share
    if not min_plausible_share <= share <= max_plausible_share:
        low, high = PLAUSIBLE_HU
        _refuse(
            f"{share:.4f} of the voxels are within [{low:g}, {high:g}] HU, "
            f"expected {min_plausible_share:g} to {max_plausible_share:g}"
        )
    _check_air(statistics, *air_share)


def _check_air(statistics: VoxelStatistics, least: float, most: float) -> None:
    share, dark = statistics.air_share, statistics.dark_air_share
    inner = statistics.num_inner_air / statistics.num_voxels
    least_dark = max(DARK_PART * least, DARK_PART_OF_AIR * inner) if least else 0.0
    if not least <= share <= most:
        _refuse(
            f"{share:.4f} of the voxels are below {AIR_BELOW_HU:g} HU, expected {least:g} to "
            f"{most:g}: slope and intercept were not applied once, see hu_rule; of a body part with "
            f"another share of air, declare expected_air_share"
        )
    if dark < least_dark:
        darkest, below = DARK_AIR_HU
        _refuse(
            f"{dark:.4f} of the voxels are air and lung within [{darkest:g}, {below:g}) HU, padding "
            f"not counted, expected at least {least_dark:.4f}, although {share:.4f} are below "
            f"{AIR_BELOW_HU:g} HU: slope or intercept are not those of HU, see hu_rule"
        )


def _refuse(detail: str) -> None:
    raise SampleRejectedError(Reason.HU_IMPLAUSIBLE, detail)


def describe_hu(scaling: HuScaling, statistics: VoxelStatistics) -> dict[str, Any]:
    """Return the `hu` record of a sample: rule, slope, intercept and the shares of the guard."""
    return {
        "rule": scaling.rule,
        "slope": scaling.slope,
        "intercept": scaling.intercept,
        **collect_shares(statistics),
    }


def collect_shares(statistics: VoxelStatistics) -> dict[str, float]:
    """Return the shares of voxels that the guard judges, by name."""
    return {name: getattr(statistics, name) for name in SHARES}

"""Applies Hounsfield units exactly once: chooses the rule and checks the result."""

import math
from dataclasses import dataclass
from typing import Any

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import HuRule
from medassets.volumes.files.header import VolumeHeader

PLAUSIBLE_HU = (-200.0, 300.0)
"""Soft tissue, fat and blood, a large share of every chest. Source: design, HU guard."""


@dataclass(frozen=True)
class HuDeclaration:
    """Rule of a dataset for converting stored voxels to HU.

    Attributes:
        rule: `none` (they are HU), `table` (slope and intercept below), `header` (scl_slope and
            scl_inter of the file).
        slope: RescaleSlope of the table; only for the rule `table`.
        intercept: RescaleIntercept of the table in HU; only for the rule `table`.
    """

    rule: HuRule = "none"
    slope: float | None = None
    intercept: float | None = None


@dataclass(frozen=True)
class HuScaling:
    """HU = stored * slope + intercept, and the rule it comes from."""

    rule: HuRule
    slope: float
    intercept: float

    @property
    def is_integral(self) -> bool:
        """Whether stored integers become integer HU."""
        return self.slope.is_integer() and self.intercept.is_integer()


@dataclass(frozen=True)
class VoxelStatistics:
    """Statistics of all stored voxels, counted while they are read.

    Attributes:
        num_voxels: All voxels, those cropped away too.
        num_plausible: Voxels within `PLAUSIBLE_HU`, both ends included.
        num_not_finite: NaN and infinities.
        is_constant: Whether all voxels have one value.
    """

    num_voxels: int
    num_plausible: int
    num_not_finite: int
    is_constant: bool

    @property
    def plausible_share(self) -> float:
        """Share of voxels within `PLAUSIBLE_HU`."""
        return self.num_plausible / self.num_voxels


def choose_scaling(declared: HuDeclaration, header: VolumeHeader) -> HuScaling:
    """Choose the slope and intercept that are applied to a file.

    A header without scaling (scl_slope 0 or not finite) leaves stored values as they are, as the
    NIfTI standard says. A header that scales, in a dataset declared otherwise, is a contradiction
    that no default can decide.

    Args:
        declared: The dataset's rule, with the table's values for this file.
        header: The file's header.

    Raises:
        SampleRejectedError: HU_RULE_MISSING if the table's values are unusable, HU_RULE_CONFLICT
            if the header states another scaling than the rule.
    """
    slope = 1.0 if header.slope is None else header.slope
    intercept = 0.0 if header.intercept is None else header.intercept
    if declared.rule == "header":
        return HuScaling("header", slope, intercept)
    chosen = HuScaling("none", 1.0, 0.0) if declared.rule == "none" else _table_scaling(declared)
    if (slope, intercept) not in ((1.0, 0.0), (chosen.slope, chosen.intercept)):
        detail = (
            f"hu_rule {declared.rule} means HU = stored * {chosen.slope:g} + {chosen.intercept:g}, "
            f"but the header says stored * {slope:g} + {intercept:g}"
        )
        raise SampleRejectedError(Reason.HU_RULE_CONFLICT, detail)
    return chosen


def _table_scaling(declared: HuDeclaration) -> HuScaling:
    slope, intercept = declared.slope, declared.intercept
    usable = (
        slope is not None
        and intercept is not None
        and math.isfinite(slope)
        and math.isfinite(intercept)
        and slope != 0
    )
    if not usable:
        detail = f"the table gives RescaleSlope {slope} and RescaleIntercept {intercept}"
        raise SampleRejectedError(Reason.HU_RULE_MISSING, detail)
    return HuScaling("table", float(slope or 0), float(intercept or 0))


def check_statistics(
    statistics: VoxelStatistics, *, min_plausible_share: float, max_plausible_share: float
) -> None:
    """Refuse a volume whose values cannot be those of a CT in HU.

    Args:
        statistics: Counts over the whole stored volume.
        min_plausible_share: Least share of voxels within `PLAUSIBLE_HU`.
        max_plausible_share: Largest such share.

    Raises:
        SampleRejectedError: NOT_FINITE, CONSTANT_VOLUME or HU_IMPLAUSIBLE, in this order.
    """
    if statistics.num_not_finite:
        detail = f"{statistics.num_not_finite} of {statistics.num_voxels} voxels are not finite"
        raise SampleRejectedError(Reason.NOT_FINITE, detail)
    if statistics.is_constant:
        raise SampleRejectedError(Reason.CONSTANT_VOLUME, "all voxels have the same value")
    share = statistics.plausible_share
    if not min_plausible_share <= share <= max_plausible_share:
        low, high = PLAUSIBLE_HU
        detail = (
            f"{share:.4f} of the voxels are within [{low:g}, {high:g}] HU, "
            f"expected {min_plausible_share:g} to {max_plausible_share:g}"
        )
        raise SampleRejectedError(Reason.HU_IMPLAUSIBLE, detail)


def describe_hu(scaling: HuScaling, statistics: VoxelStatistics) -> dict[str, Any]:
    """Return the `hu` record of a sample: rule, slope, intercept, plausible_share."""
    return {
        "rule": scaling.rule,
        "slope": scaling.slope,
        "intercept": scaling.intercept,
        "plausible_share": statistics.plausible_share,
    }

"""Applies Hounsfield units exactly once: chooses the rule; see `hu_guard` for the check of the result."""

import math
from dataclasses import dataclass

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import HuRule
from medassets.volumes.files.header import VolumeHeader


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

"""Where the slices of a DICOM series are: their order, their steps, and the affine of the volume."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from medassets.arrays import Affine
from medassets.errors import Reason, SampleRejectedError

# Written with three decimals, a direction differs so much from length 1 and a right angle.
_MOST_SKEW = 3e-3
# Rounding of positions to 0.1 mm, or a step that varies as tables move.
_STEP_MM, _STEP_SHARE = 0.1, 0.02
_SMALL_STEP_SHARE = 0.3
_MOST_TILT_DEGREES = 0.2
# Positions that are rounded to 0.1 mm drift by so much between the ends of a stack.
_MOST_DRIFT_MM = 0.15
_WHOLE = 0.15

Vector = npt.NDArray[np.float64]

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Axes:
    """Unit vectors of a slice, mm in LPS: along a row, along a column, and the normal.

    They are at right angles exactly. The column keeps its direction, as in ITK.
    """

    row: Vector = field(repr=False)
    column: Vector = field(repr=False)
    normal: Vector = field(repr=False)


@dataclass(frozen=True)
class StackGeometry:
    """Geometry of a stack of slices.

    Attributes:
        order: Indices of the slices, along the normal.
        spacing_mm: Steps along a row, along a column, and between slices.
        affine: float64 (4, 4), voxel index (column, row, slice) -> mm, RAS+.
    """

    order: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    affine: Affine = field(repr=False)


def find_axes(orientation: Sequence[float]) -> Axes | None:
    """Return the axes of ImageOrientationPatient; None if it is no pair of unit vectors at a right angle.

    Source: ITK 5.4, GDCMImageIO: the normal, and a row that is at right angles to column and normal.
    """
    row, column = np.asarray(orientation[:3], float), np.asarray(orientation[3:6], float)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if not np.isfinite([*row, *column]).all() or max(abs(n - 1) for n in lengths) > _MOST_SKEW:
        return None
    if abs(row @ column) > _MOST_SKEW:
        return None
    column = column / lengths[1]
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)
    return Axes(np.cross(column, normal), column, normal)


def stack_slices(
    positions: npt.NDArray[np.float64], axes: Axes, *, pixel_spacing: Sequence[float]
) -> StackGeometry:
    """Order slices along their normal, and locate the volume that they make.

    Args:
        positions: ImagePositionPatient of each slice, shape (slice, 3), mm in LPS; no two the same.
        axes: Those of all slices.
        pixel_spacing: Step between rows, and step between columns, in mm.

    Raises:
        SampleRejectedError: MISSING_SLICE, UNEVEN_SLICES or GANTRY_TILT if they make no regular volume.

    Source: DICOM PS3.3 C.7.6.2.1.1, equation C.7.6.2.1-1.
    """
    order = np.argsort(positions @ axes.normal, kind="stable")
    sorted_positions = positions[order]
    check_steps(sorted_positions @ axes.normal)
    step = (sorted_positions[-1] - sorted_positions[0]) / (len(order) - 1)
    _check_line(sorted_positions, step, axes)
    between_rows, between_columns = pixel_spacing
    affine = np.eye(4)
    affine[:3, 0] = axes.row * between_columns
    affine[:3, 1] = axes.column * between_rows
    affine[:3, 2] = step
    affine[:3, 3] = sorted_positions[0]
    spacing = (float(between_columns), float(between_rows), float(np.linalg.norm(step)))
    return StackGeometry(tuple(int(n) for n in order), spacing, LPS_TO_RAS @ affine)


def check_steps(along: npt.NDArray[np.float64]) -> None:
    """Refuse slices that are not evenly spaced.

    Args:
        along: Positions along the normal, ascending, in mm.

    Raises:
        SampleRejectedError: MISSING_SLICE where steps are whole multiples of the usual one, else UNEVEN_SLICES.
    """
    steps = np.diff(along)
    usual = float(np.median(steps))
    allowed = allow_deviation(usual)
    wrong = steps[np.abs(steps - usual) > allowed]
    # Small deviations must not add up, as of a table that speeds up.
    drift = np.abs(along - np.linspace(along[0], along[-1], len(along))).max()
    if not len(wrong) and drift <= max(2 * allowed, _STEP_MM):
        return
    # The mean of right steps: rounding makes the usual one inexact.
    right = steps[np.abs(steps - usual) <= allowed]
    multiples = wrong / (float(right.mean()) if len(right) else usual)
    missing = np.rint(multiples).astype(int) - 1
    if len(wrong) and (missing > 0).all() and (np.abs(multiples - missing - 1) < _WHOLE).all():
        count = int(missing.sum())
        detail = (
            f"{count:,} {'slice is' if count == 1 else 'slices are'} missing between the others: the usual step is "
            f"{usual:g} mm, the largest {steps.max():g} mm"
        )
        raise SampleRejectedError(Reason.MISSING_SLICE, detail)
    detail = f"steps between slices are {steps.min():g} to {steps.max():g} mm, usually {usual:g} mm"
    raise SampleRejectedError(Reason.UNEVEN_SLICES, detail)


def allow_deviation(usual: float) -> float:
    """Return by how much a step may differ from the usual one, in mm."""
    return max(min(_STEP_MM, _SMALL_STEP_SHARE * usual), _STEP_SHARE * usual) + 1e-6


def _check_line(positions: npt.NDArray[np.float64], step: Vector, axes: Axes) -> None:
    """Refuse slices that are shifted sideways."""
    sideways = step - (step @ axes.normal) * axes.normal
    drift = float(np.linalg.norm(sideways)) * (len(positions) - 1)
    angle = float(np.degrees(np.arctan2(np.linalg.norm(sideways), step @ axes.normal)))
    if angle > _MOST_TILT_DEGREES and drift > _MOST_DRIFT_MM:
        detail = f"slices lie {angle:.1f} degrees off their normal, as with a tilted gantry: {drift:.1f} mm in all"
        raise SampleRejectedError(Reason.GANTRY_TILT, detail)
    line = positions[0] + np.outer(np.arange(len(positions)), step)
    off = positions - line
    off -= np.outer(off @ axes.normal, axes.normal)
    shift = float(np.linalg.norm(off, axis=1).max())
    if shift > _MOST_DRIFT_MM:
        detail = f"a slice is shifted sideways by {shift:.2f} mm"
        raise SampleRejectedError(Reason.UNEVEN_SLICES, detail)

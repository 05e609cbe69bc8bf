"""Plans spacing, orientation and geometry of a resampled volume before voxels are read."""

from dataclasses import dataclass, field
from typing import Any, NoReturn

import nibabel.orientations as orientations
import numpy as np
import numpy.typing as npt

from medassets.arrays import Affine
from medassets.errors import Reason, SampleRejectedError
from medassets.specs import CTPreprocessing, Orientation
from medassets.volumes.files.header import VolumeHeader

MAX_SPACING_DISAGREEMENT = 0.01
MAX_RESAMPLED_SIDE = 1 << 16

TRANSFORMS = frozenset({"sform", "qform", "json", "dicom", "directions"})
"""Origins of an affine that state an orientation; others state steps only."""

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class AxisPlan:
    """Mapping of one stored axis to one output axis; indexes count stored voxels.

    Attributes:
        num_in: Stored voxels along the axis.
        num_resampled: Voxels after resampling, before crop and pad.
        crop_start: First resampled voxel kept.
        pad_before: Padded voxels before the first kept one.
        num_out: Voxels of the output.
        index0: int64 (kept,), lower stored neighbour of each kept output voxel.
        index1: int64 (kept,), upper neighbour; equal to `index0` at the last voxel.
        weight: float64 (kept,), share of the upper neighbour.
    """

    num_in: int
    num_resampled: int
    crop_start: int
    pad_before: int
    num_out: int
    index0: npt.NDArray[np.int64] = field(repr=False)
    index1: npt.NDArray[np.int64] = field(repr=False)
    weight: npt.NDArray[np.float64] = field(repr=False)

    @property
    def num_kept(self) -> int:
        """Number of output voxels that are computed, not padded."""
        return len(self.weight)

    @property
    def kept(self) -> slice:
        """Range of the computed voxels in the output."""
        return slice(self.pad_before, self.pad_before + self.num_kept)

    @property
    def scale(self) -> float:
        """Stored voxels per resampled voxel."""
        return self.num_in / self.num_resampled


@dataclass(frozen=True)
class SourceFrame:
    """Position of a stored volume in world coordinates.

    Attributes:
        shape: Stored axes (i, j, k).
        spacing_mm: Steps in use, along the stored axes.
        spacing_from: `table` or `header`.
        affine: float64 (4, 4), as the header states it or, for a blank header, diagonal.
        affine_from: Header field (sform, qform, pixdim), `dicom` for the position and orientation of slices, `directions` of MetaImage and NRRD, `spacing` for a blank header, or `json` where
            the record beside a plain array states its axis codes.
        rival_codes: Axis codes of another transform of the file that contradicts this one.
        axis_codes: Directions in which the axes grow, such as `LPS`; None where the file states no
            transform, so that nothing tells left from right.
    """

    shape: tuple[int, int, int]
    spacing_mm: Spacing
    spacing_from: str
    affine: Affine = field(repr=False)
    affine_from: str
    rival_codes: str | None = None

    @property
    def axis_codes(self) -> str | None:
        return name_axis_codes(self.affine) if self.affine_from in TRANSFORMS else None


@dataclass(frozen=True)
class ResamplingPlan:
    """Geometry of one volume, from its header, its table row and the preset.

    Attributes:
        source: Frame of the stored volume.
        axes: Plans in stored order (i, j, k).
        stored_axis: Stored axis that becomes output axis 0, 1, 2.
        affine: float64 (4, 4), output voxel index -> mm, RAS+.
    """

    source: SourceFrame
    axes: tuple[AxisPlan, AxisPlan, AxisPlan] = field(repr=False)
    stored_axis: tuple[int, int, int]
    affine: Affine = field(repr=False)

    @property
    def is_transposed(self) -> bool:
        """Whether the output axes are in another order than the stored ones."""
        return self.stored_axis != (0, 1, 2)

    @property
    def out_axes(self) -> tuple[AxisPlan, ...]:
        """Plans in the order of the output axes."""
        return tuple(self.axes[axis] for axis in self.stored_axis)

    @property
    def cropped_share(self) -> float:
        """Share of the stored volume outside the output."""
        kept = 1.0
        for axis in self.axes:
            kept *= axis.num_kept / axis.num_resampled
        return 1.0 - kept


def plan_resampling(
    header: VolumeHeader, preset: CTPreprocessing, *, spacing_mm: Spacing | None = None
) -> ResamplingPlan:
    """Plan sampling positions, crop, pad and the output's affine.

    Args:
        header: Header of the stored volume.
        preset: Wanted spacing, shape and orientation of the output.
        spacing_mm: Steps along the stored axes from the dataset's table; None without one.

    Raises:
        SampleRejectedError: SPACING_MISSING, SPACING_MISMATCH, BAD_HEADER (no usable affine),
            ORIENTATION_MISSING if the preset turns a volume that has none, or TOO_FEW_SLICES if
            nothing would be left along an axis.
    """
    source = locate_source(header, spacing_mm)
    if preset.orientation != "as_stored" and source.axis_codes is None:
        _reject_unoriented(f"orientation: {preset.orientation}")
    turn = _turn(source.affine, preset.orientation)
    axes = []
    for axis in range(3):
        out_axis = int(turn[axis, 0])
        plan = plan_axis(
            source.shape[axis],
            source.spacing_mm[axis],
            target_mm=preset.spacing_mm[out_axis],
            num_out=preset.shape[out_axis],
        )
        axes.append(_flip_axis(plan) if turn[axis, 1] < 0 else plan)
    order = np.argsort(turn[:, 0])
    stored_axis = (int(order[0]), int(order[1]), int(order[2]))
    oriented = _exact_affine(source) @ orientations.inv_ornt_aff(turn, source.shape)
    affine = _output_affine(oriented, [axes[axis] for axis in stored_axis])
    return ResamplingPlan(source, (axes[0], axes[1], axes[2]), stored_axis, affine)


def plan_axis(num_in: int, spacing_mm: float, *, target_mm: float, num_out: int) -> AxisPlan:
    """Plan one axis: resample to `target_mm`, then crop or pad around the centre to `num_out`.

    Args:
        num_in: Stored voxels.
        spacing_mm: Stored step in mm.
        target_mm: Wanted step in mm.
        num_out: Voxels of the output.

    Raises:
        SampleRejectedError: TOO_FEW_SLICES if nothing is left, BAD_HEADER if absurdly much is.

    Source: torch.nn.functional.interpolate(size=..., align_corners=False): positions
    (n_in / n_out) * (index + 0.5) - 0.5, clamped at 0.
    """
    resampled = num_in * (spacing_mm / target_mm)
    if resampled > MAX_RESAMPLED_SIDE:
        detail = f"{num_in} voxels of {spacing_mm:g} mm make {resampled:.0f} of {target_mm:g} mm"
        raise SampleRejectedError(Reason.BAD_HEADER, detail)
    size = int(resampled)
    if size < 1:
        detail = f"{num_in} voxels of {spacing_mm:g} mm do not make one of {target_mm:g} mm"
        raise SampleRejectedError(Reason.TOO_FEW_SLICES, detail)
    crop_start = max((size - num_out) // 2, 0)
    index = np.arange(crop_start, crop_start + min(size, num_out), dtype=np.float64)
    position = np.maximum((num_in / size) * (index + 0.5) - 0.5, 0.0)
    index0 = np.minimum(position.astype(np.int64), num_in - 1)
    return AxisPlan(
        num_in=num_in,
        num_resampled=size,
        crop_start=crop_start,
        pad_before=max((num_out - size) // 2, 0),
        num_out=num_out,
        index0=index0,
        index1=np.minimum(index0 + 1, num_in - 1),
        weight=np.clip(position - index0, 0.0, 1.0),
    )


def locate_source(header: VolumeHeader, spacing_mm: Spacing | None) -> SourceFrame:
    """Determine spacing and affine of a stored volume.

    The table's spacing wins: the header holds float32. A header that was never filled in
    (identity affine, or no transform and steps of 1) has no spacing of its own; with a table it
    gets an affine that holds the table's spacing only, along the axes that a record beside the array
    states.

    Args:
        header: Header of the stored volume.
        spacing_mm: Steps along the stored axes from the dataset's table; None without one.

    Raises:
        SampleRejectedError: SPACING_MISSING, SPACING_MISMATCH or BAD_HEADER.
    """
    if spacing_mm is not None:
        _check_spacing(spacing_mm, "table")
        if _is_blank(header, spacing_mm):
            return _locate_blank(header, spacing_mm)
    elif _is_unset(header):
        detail = "the header was never filled in: no transform, and steps of 1 mm"
        raise SampleRejectedError(Reason.SPACING_MISSING, detail)
    stated = _header_spacing(header)
    if spacing_mm is not None:
        _check_agreement(spacing_mm, stated, "the table", "the header")
    return SourceFrame(
        shape=header.shape,
        spacing_mm=spacing_mm or stated,
        spacing_from="table" if spacing_mm else "header",
        affine=header.affine,
        affine_from=header.affine_from,
        rival_codes=header.rival_codes,
    )


def _locate_blank(header: VolumeHeader, spacing_mm: Spacing) -> SourceFrame:
    affine, codes = np.diag([*spacing_mm, 1.0]), header.stated_codes
    if codes is None:
        return SourceFrame(header.shape, spacing_mm, "table", affine, "spacing")
    # From the stored axes to axes that grow to right, anterior and superior.
    turn = orientations.axcodes2ornt(tuple(codes))
    for stored, (world, sign) in enumerate(turn):
        affine[:3, stored] = 0.0
        affine[int(world), stored] = sign * spacing_mm[stored]
    return SourceFrame(header.shape, spacing_mm, "table", affine, "json", header.rival_codes)


def check_orientation(frame: SourceFrame, expected: str) -> None:
    """Refuse a volume whose axes do not grow in the expected directions.

    Args:
        frame: Frame of the stored volume.
        expected: Axis codes such as `LPS`; empty accepts any.

    Raises:
        SampleRejectedError: UNEXPECTED_ORIENTATION, or ORIENTATION_MISSING where the file has none.
    """
    if not expected or frame.axis_codes == expected:
        return
    if frame.axis_codes is None:
        _reject_unoriented(f"expected_orientation: {expected}")
    detail = (
        f"the axes grow to {frame.axis_codes} ({_name_origin(frame)}), expected "
        f"{expected} as declared by expected_orientation"
    )
    raise SampleRejectedError(Reason.UNEXPECTED_ORIENTATION, detail)


def _name_origin(frame: SourceFrame) -> str:
    return (
        "the json of the sample"
        if frame.affine_from == "json"
        else f"{frame.affine_from} of the header"
    )


def _reject_unoriented(asked_by: str) -> NoReturn:
    detail = (
        f"the file states no orientation (sform_code and qform_code 0, a header that was never "
        f"filled in, or an array whose json gives no axis_codes), but the declaration asks for one ({asked_by})"
    )
    raise SampleRejectedError(Reason.ORIENTATION_MISSING, detail)


def describe_geometry(plan: ResamplingPlan) -> dict[str, Any]:
    """Return the `geometry` record of a sample, JSON-like, lengths in mm.

    `crop` holds half-open ranges of the resampled volume, `pad` voxels before and after, both
    per output axis. The output spacing is the true step: the size is a whole number, so it
    differs a little from the preset's.
    """
    out = plan.out_axes
    return {
        "source": describe_source(plan.source),
        "output": {
            "shape": [axis.num_out for axis in out],
            "spacing_mm": [
                float(plan.source.spacing_mm[stored] * plan.axes[stored].scale)
                for stored in plan.stored_axis
            ],
            "axis_codes": name_axis_codes(plan.affine) if plan.source.axis_codes else None,
            "affine": _to_lists(plan.affine),
        },
        "resampled_shape": [axis.num_resampled for axis in out],
        "crop": [[axis.crop_start, axis.crop_start + axis.num_kept] for axis in out],
        "pad": [[axis.pad_before, axis.num_out - axis.num_kept - axis.pad_before] for axis in out],
        "cropped_share": plan.cropped_share,
    }


def describe_source(frame: SourceFrame) -> dict[str, Any]:
    """Return the part of the `geometry` record about the stored volume, JSON-like, lengths in mm."""
    return {
        "shape": list(frame.shape),
        "spacing_mm": [float(step) for step in frame.spacing_mm],
        "spacing_from": frame.spacing_from,
        "axis_codes": frame.axis_codes,
        "affine": _to_lists(frame.affine),
        "affine_from": frame.affine_from,
        **({"rival_axis_codes": frame.rival_codes} if frame.rival_codes else {}),
    }


def _flip_axis(plan: AxisPlan) -> AxisPlan:
    last = plan.num_in - 1
    return AxisPlan(
        num_in=plan.num_in,
        num_resampled=plan.num_resampled,
        crop_start=plan.crop_start,
        pad_before=plan.pad_before,
        num_out=plan.num_out,
        index0=last - plan.index0,
        index1=last - plan.index1,
        weight=plan.weight,
    )


def _turn(affine: Affine, orientation: Orientation) -> npt.NDArray[np.float64]:
    if orientation == "as_stored":
        return np.array([[0, 1], [1, 1], [2, 1]], np.float64)
    wanted = orientations.axcodes2ornt(tuple(orientation))
    return orientations.ornt_transform(orientations.io_orientation(affine), wanted)


def _exact_affine(source: SourceFrame) -> Affine:
    """Return the affine scaled so that its columns have the lengths of the spacing in use."""
    exact = np.array(source.affine, np.float64)
    exact[:3, :3] *= np.array(source.spacing_mm) / np.linalg.norm(exact[:3, :3], axis=0)
    return exact


def _output_affine(oriented: Affine, axes: list[AxisPlan]) -> Affine:
    step = np.eye(4)
    for row, axis in enumerate(axes):
        step[row, row] = axis.scale
        step[row, 3] = axis.scale * (axis.crop_start - axis.pad_before + 0.5) - 0.5
    return oriented @ step


def _is_blank(header: VolumeHeader, spacing_mm: Spacing) -> bool:
    # Where the table says 1 mm as well, the identity may be true.
    return _is_unset(header) or (
        np.array_equal(header.affine, np.eye(4)) and set(spacing_mm) != {1.0}
    )


def _is_unset(header: VolumeHeader) -> bool:
    return header.affine_from == "pixdim" and all(step in (0, 1) for step in header.pixdim_mm)


def _header_spacing(header: VolumeHeader) -> Spacing:
    if header.affine_from == "pixdim":
        _check_spacing(header.pixdim_mm, "header")
        return header.pixdim_mm
    lengths = np.linalg.norm(header.affine[:3, :3], axis=0)
    stated = (float(lengths[0]), float(lengths[1]), float(lengths[2]))
    _check_spacing(stated, "header")
    unit_columns = header.affine[:3, :3] / lengths
    if not np.isfinite(header.affine).all() or abs(np.linalg.det(unit_columns)) < 1e-3:
        detail = f"the {header.affine_from} of the header is not an invertible affine"
        raise SampleRejectedError(Reason.BAD_HEADER, detail)
    if all(np.isfinite(step) and step > 0 for step in header.pixdim_mm):
        _check_agreement(header.pixdim_mm, stated, "pixdim", header.affine_from)
    return stated


def _check_spacing(spacing_mm: Spacing, origin: str) -> None:
    if len(spacing_mm) != 3 or not all(np.isfinite(step) and step > 0 for step in spacing_mm):
        steps = ", ".join(f"{step:g}" for step in spacing_mm)
        raise SampleRejectedError(Reason.SPACING_MISSING, f"the {origin} gives ({steps}) mm")


def _check_agreement(one: Spacing, other: Spacing, one_name: str, other_name: str) -> None:
    if any(abs(a - b) > MAX_SPACING_DISAGREEMENT * b for a, b in zip(one, other, strict=True)):
        texts = [", ".join(f"{step:.6g}" for step in steps) for steps in (one, other)]
        detail = f"{one_name} says ({texts[0]}) mm, {other_name} ({texts[1]}) mm"
        raise SampleRejectedError(Reason.SPACING_MISMATCH, detail)


def name_axis_codes(affine: Affine) -> str:
    """Return the directions in which the axes of a finite affine in RAS+ grow, such as `LPS`."""
    return "".join(str(code) for code in orientations.aff2axcodes(affine))


def _to_lists(affine: Affine) -> list[list[float]]:
    return [[float(value) for value in row] for row in affine]

"""Frames: what a voxel of the output says about the world is true of the stored volume."""

import json
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import PRESETS, CTPreprocessing
from medassets.testing.phantoms import make_affine as make_phantom_affine
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.grid.geometry import (
    ResamplingPlan,
    check_orientation,
    describe_geometry,
    plan_axis,
    plan_resampling,
)

SHAPE = (5, 7, 11)
STEPS = (0.9, 1.3, 2.1)


def read_header(path: Any) -> VolumeHeader:
    with open_nifti(path) as reader:
        return reader.header


def small_preset(**changes: Any) -> CTPreprocessing:
    changes.setdefault("shape", (4, 12, 9))
    return replace(PRESETS["ct_clip"], **changes)


@pytest.fixture
def plan_of(write_volume: Any) -> Any:
    """Return a function that plans a volume with the given affine."""

    def make(affine: Any, *, spacing_mm: Any = None, preset: Any = None, **fields: Any) -> Any:
        path = write_volume(np.zeros(SHAPE, "i2"), affine, **fields)
        return plan_resampling(read_header(path), preset or small_preset(), spacing_mm=spacing_mm)

    return make


def position_in_source(plan: ResamplingPlan, voxel: tuple[int, int, int]) -> np.ndarray:
    """Return the stored index (float) at which an output voxel was sampled."""
    index = np.empty(3)
    for out_axis, stored in enumerate(plan.stored_axis):
        axis = plan.axes[stored]
        at = voxel[out_axis] - axis.pad_before
        step = axis.index1[at] - axis.index0[at]
        index[stored] = axis.index0[at] + step * axis.weight[at]
    return index


@pytest.mark.parametrize("orientation", ["as_stored", "LPS", "RAS"])
@pytest.mark.parametrize("columns", [(0, 1, 2), (2, 0, 1), (1, 0, 2)], ids=str)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, -1, 1), (-1, 1, -1)], ids=str)
def test_the_output_affine_points_at_the_place_that_was_sampled(
    orientation: Any, columns: Any, signs: Any, make_affine: Any, plan_of: Any
) -> None:
    affine = make_affine(STEPS)
    affine[:3, :3] = (affine[:3, :3] * signs)[:, columns]
    plan = plan_of(affine, preset=small_preset(orientation=orientation))
    checked = 0
    for out_voxel in np.ndindex(4, 12, 9):
        axes = plan.out_axes
        inside = [
            axis.kept.start < at < axis.kept.stop - 1
            for at, axis in zip(out_voxel, axes, strict=True)
        ]
        if not all(inside):
            continue
        source = position_in_source(plan, out_voxel)
        if any((source <= 0) | (source >= np.array(SHAPE) - 1)):
            continue
        world = affine[:3, :3] @ source + affine[:3, 3]
        np.testing.assert_allclose(
            plan.affine[:3, :3] @ out_voxel + plan.affine[:3, 3], world, atol=2e-5
        )
        checked += 1
    assert checked > 20


@pytest.mark.parametrize("orientation", ["LPS", "RAS"])
def test_a_reoriented_output_has_the_axis_codes_asked_for(
    orientation: Any, make_affine: Any, plan_of: Any
) -> None:
    affine = make_affine(STEPS)[:, [1, 2, 0, 3]] * (1, -1, -1, 1)
    record = describe_geometry(plan_of(affine, preset=small_preset(orientation=orientation)))
    assert record["output"]["axis_codes"] == orientation
    assert record["source"]["axis_codes"] == "".join(nib.aff2axcodes(affine))


def test_the_record_is_json_and_its_spacing_is_the_length_of_the_affine_columns(
    make_affine: Any, plan_of: Any
) -> None:
    record = describe_geometry(plan_of(make_affine(STEPS), spacing_mm=STEPS))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    for frame in ("source", "output"):
        columns = np.array(record[frame]["affine"])[:3, :3]
        lengths = np.linalg.norm(columns, axis=0)
        np.testing.assert_allclose(lengths, record[frame]["spacing_mm"], rtol=1e-6)
    assert record["source"]["spacing_mm"] == list(STEPS)
    assert record["source"]["spacing_from"] == "table"
    assert record["resampled_shape"] == [6, 12, 15]
    assert record["crop"] == [[1, 5], [0, 12], [3, 12]]
    assert record["pad"] == [[0, 0], [0, 0], [0, 0]]
    assert record["cropped_share"] == pytest.approx(1 - 4 / 6 * 9 / 15)


def test_odd_differences_crop_and_pad_as_floor_division_does() -> None:
    cropped = plan_axis(10, 1.0, target_mm=1.0, num_out=7)
    assert (cropped.crop_start, cropped.pad_before, cropped.num_kept) == (1, 0, 7)
    padded = plan_axis(7, 1.0, target_mm=1.0, num_out=10)
    assert (padded.crop_start, padded.pad_before, padded.num_kept) == (0, 1, 7)


def test_the_size_is_computed_in_float64() -> None:
    # 0.7 / 0.75 * 480 is 447.99999999999994 in float64 and 448 in float32.
    assert plan_axis(480, 0.7, target_mm=0.75, num_out=480).num_resampled == int(480 * (0.7 / 0.75))


def test_equal_spacing_copies_voxels() -> None:
    plan = plan_axis(9, 1.5, target_mm=1.5, num_out=9)
    np.testing.assert_array_equal(plan.index0, np.arange(9))
    np.testing.assert_array_equal(plan.weight, np.zeros(9))


def test_table_and_header_may_differ_by_one_percent(make_affine: Any, plan_of: Any) -> None:
    near = (STEPS[0] * 1.009, STEPS[1], STEPS[2])
    plan = plan_of(make_affine(STEPS), spacing_mm=near)
    assert plan.source.spacing_mm == near
    with pytest.raises(SampleRejectedError, match="the table says") as caught:
        plan_of(make_affine(STEPS), spacing_mm=(STEPS[0] * 1.011, STEPS[1], STEPS[2]))
    assert caught.value.reason is Reason.SPACING_MISMATCH


def test_swapped_table_spacing_is_a_mismatch(make_affine: Any, plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="spacing_mismatch"):
        plan_of(make_affine(STEPS), spacing_mm=STEPS[::-1])


def test_pixdim_and_affine_that_disagree_are_a_mismatch(make_affine: Any, plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="pixdim says"):
        plan_of(make_affine(STEPS), pixdim=[1, 0.9, 1.3, 5, 0, 0, 0, 0])


def test_a_blank_header_takes_the_spacing_of_the_table(plan_of: Any) -> None:
    for fields in ({}, {"sform_code": 0, "pixdim": [1] * 8}):
        plan = plan_of(np.eye(4), spacing_mm=STEPS, **fields)
        assert plan.source.affine_from == "spacing"
        np.testing.assert_array_equal(plan.source.affine, np.diag([*STEPS, 1]))


def test_a_blank_header_without_a_table_has_no_spacing(plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="never filled in") as caught:
        plan_of(np.eye(4), sform_code=0, pixdim=[1] * 8)
    assert caught.value.reason is Reason.SPACING_MISSING
    steps = plan_of(np.eye(4), sform_code=0, pixdim=[1, *STEPS, 0, 0, 0, 0]).source.spacing_mm
    np.testing.assert_allclose(steps, STEPS, rtol=1e-6)


@pytest.mark.parametrize("step", [0.0, -1.0, np.nan, np.inf])
def test_table_spacing_that_is_no_length_is_missing(step: float, plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="the table gives") as caught:
        plan_of(np.eye(4), spacing_mm=(1.0, step, 1.0))
    assert caught.value.reason is Reason.SPACING_MISSING


def test_a_flat_affine_is_a_bad_header(plan_of: Any) -> None:
    flat = np.array([[1.0, 0, 0.5, 0], [0, 1, 0.5, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    with pytest.raises(SampleRejectedError, match="not an invertible affine") as caught:
        plan_of(flat)
    assert caught.value.reason is Reason.BAD_HEADER


def test_an_origin_that_is_not_finite_is_a_bad_header(make_affine: Any, plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="srow_y of the sform is not finite"):
        plan_of(make_affine(STEPS, (0.0, np.nan, 0.0)))


def test_absurd_spacing_does_not_plan_an_absurd_volume(plan_of: Any) -> None:
    with pytest.raises(SampleRejectedError, match="bad_header"):
        plan_of(np.diag([1e6, 1, 1, 1]))


ROWS = {f"srow_{axis}": np.zeros(4) for axis in "xyz"}
NO_TRANSFORM: dict[str, Any] = {"sform_code": 0, "qform_code": 0, **ROWS}


@pytest.mark.parametrize("pixdim", [STEPS, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)], ids=str)
def test_a_file_without_transform_has_no_orientation(pixdim: Any, plan_of: Any) -> None:
    fields = {**NO_TRANSFORM, "pixdim": [1, *pixdim, 1, 1, 1, 1]}
    plan = plan_of(np.eye(4), spacing_mm=STEPS, **fields)
    assert (plan.source.axis_codes, describe_geometry(plan)["output"]["axis_codes"]) == (None, None)
    for orientation in ("LPS", "RAS"):
        preset = small_preset(orientation=orientation)
        with pytest.raises(SampleRejectedError, match=f"orientation: {orientation}") as caught:
            plan_of(np.eye(4), spacing_mm=STEPS, preset=preset, **fields)
        assert caught.value.reason is Reason.ORIENTATION_MISSING


def test_a_header_that_was_never_filled_in_has_no_orientation(plan_of: Any) -> None:
    assert plan_of(np.eye(4), spacing_mm=STEPS).source.axis_codes is None
    with pytest.raises(SampleRejectedError, match=r"orientation_missing: .* never filled in"):
        plan_of(np.eye(4), spacing_mm=STEPS, preset=small_preset(orientation="LPS"))


def test_an_identity_that_the_table_confirms_is_an_orientation(plan_of: Any) -> None:
    assert plan_of(np.eye(4), spacing_mm=(1.0, 1.0, 1.0)).source.axis_codes == "RAS"
    assert plan_of(np.eye(4)).source.axis_codes == "RAS"


@pytest.mark.parametrize("expected", ["LPS", "RAS", "PSL", "AIR"])
@pytest.mark.parametrize("stored", ["LPS", "RAS", "LAS", "PSL", "SPL"])
def test_only_volumes_of_the_expected_orientation_pass(
    stored: str, expected: str, plan_of: Any
) -> None:
    frame = plan_of(make_phantom_affine(SHAPE, spacing_mm=STEPS, axis_codes=stored)).source
    assert frame.axis_codes == stored
    check_orientation(frame, "")
    if stored == expected:
        check_orientation(frame, expected)
        return
    with pytest.raises(
        SampleRejectedError, match=f"grow to {stored} .*expected {expected}"
    ) as caught:
        check_orientation(frame, expected)
    assert caught.value.reason is Reason.UNEXPECTED_ORIENTATION


def test_a_volume_without_orientation_is_not_the_expected_one(plan_of: Any) -> None:
    fields = {**NO_TRANSFORM, "pixdim": [1, *STEPS, 1, 1, 1, 1]}
    with pytest.raises(
        SampleRejectedError, match=r"orientation_missing: .*expected_orientation: LPS"
    ):
        check_orientation(plan_of(np.eye(4), **fields).source, "LPS")

"""Ranges, fixed and of percentiles: every voxel against torch, nibabel and numpy."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import PRESETS, CTPreprocessing
from medassets.volumes.grid.hu import HuDeclaration, HuScaling
from medassets.volumes.grid.preprocessing import PreprocessedVolume, VolumeLimits, preprocess_volume
from medassets.volumes.grid.value_range import ValueMap

SPACING = (0.9, 1.3, 2.1)
GRID: Any = {"spacing_mm": (1.1, 0.8, 1.7), "shape": (11, 9, 12)}
MR = replace(PRESETS["mr_percentile"], **GRID)
FIXED = replace(MR, percentiles=None, clip_hu=(100.0, 1700.0))
SCALED = replace(FIXED, output_range=None, scale=250.0, pad_value=0.4)
SOFT = replace(PRESETS["ct_soft_tissue"], **GRID)


def preprocess(path: Path, preset: CTPreprocessing, **limits: Any) -> PreprocessedVolume:
    return preprocess_volume(
        path,
        preset=preset,
        hu=HuDeclaration("header"),
        spacing_mm=SPACING,
        limits=VolumeLimits(min_slices=1, **limits),
    )


@pytest.mark.parametrize("dtype", ["i2", "u2", "u1", "i4", "f4", "f8"])
@pytest.mark.parametrize(
    "preset",
    [MR, FIXED, SCALED, replace(FIXED, output_range=(-1.0, 1.0), pad_value=-1.0)],
    ids=["percentiles", "fixed", "scaled", "symmetric"],
)
@pytest.mark.parametrize("slope", [1.0, 0.37])
def test_voxels_are_those_of_torch_from_the_values_of_nibabel(
    dtype: str, slope: float, preset: CTPreprocessing, oracle: Any, ulps: Any, write_volume: Any
) -> None:
    rng = np.random.default_rng(11)
    stored = np.abs(rng.normal(60, 50, (13, 8, 10))) * (1 if dtype == "u1" else 20)
    stored = np.clip(stored, 0, 255 if dtype == "u1" else 32_000).astype(dtype)
    path = write_volume(stored, np.diag([*SPACING, 1.0]), scl_slope=slope, scl_inter=1.5)
    made = preprocess(path, preset)
    values = np.asarray(nib.loadsave.load(path).get_fdata())  # pyright: ignore[reportAttributeAccessIssue]
    distance = ulps(made.array, oracle(values, SPACING, preset).astype(np.float16))
    assert distance.max() <= 1
    assert (distance == 0).mean() >= 0.99
    low, high = preset.clip_hu or np.percentile(values, preset.percentiles or (0, 100))
    assert made.hu is None
    assert made.intensity is not None
    assert made.intensity["range"] == pytest.approx([low, high], rel=1e-9)
    inside = ((values >= low) & (values <= high)).mean()
    assert made.intensity["inside_share"] == pytest.approx(inside, abs=2 / values.size)


def test_soft_tissue_is_mapped_to_0_and_1(
    oracle: Any, ulps: Any, write_volume: Any, phantom: Callable[..., Any]
) -> None:
    stored = phantom((40, 33, 21))
    path = write_volume(stored, np.diag([*SPACING, 1.0]))
    made = preprocess(path, SOFT, min_plausible_share=0.0, max_plausible_share=1.0)
    assert ulps(made.array, oracle(stored, SPACING, SOFT).astype(np.float16)).max() <= 1
    assert made.array.min() >= 0.0
    assert made.array.max() <= 1.0
    assert made.intensity is None
    assert made.hu is not None
    assert made.hu["air_share"] == pytest.approx((stored < -200).mean())


def test_nothing_of_hu_is_asked_of_stored_values(write_volume: Any) -> None:
    stored = np.full((5, 7, 11), 40_000, "u2")
    stored[0] = np.arange(77).reshape(7, 11)
    made = preprocess(write_volume(stored, np.diag([*SPACING, 1.0])), FIXED)
    assert made.hu is None
    with pytest.raises(SampleRejectedError, match="hu_implausible"):
        preprocess(write_volume(stored, np.diag([*SPACING, 1.0])), replace(FIXED, intensity="hu"))


def test_a_volume_outside_the_fixed_range_is_refused_where_a_share_is_declared(
    write_volume: Any,
) -> None:
    stored = np.arange(385, dtype="i2").reshape(5, 7, 11)
    path = write_volume(stored, np.diag([*SPACING, 1.0]))
    assert preprocess(path, FIXED, min_inside_share=0.7).intensity is not None
    with pytest.raises(SampleRejectedError) as caught:
        preprocess(path, FIXED, min_inside_share=0.75)
    assert caught.value.reason is Reason.VALUES_IMPLAUSIBLE
    assert caught.value.detail == (
        "0.7403 of the voxels are within [100, 1700], expected at least 0.75, see min_inside_share"
    )


def test_a_map_shifts_before_and_multiplies_after_interpolation() -> None:
    found = ValueMap.of(SOFT)
    assert (found.clip, found.shift, found.factor) == ((-150.0, 250.0), -150.0, 1 / 400)
    assert found.shifted_clip == (0.0, 400.0)
    assert found.shift_scaling(HuScaling("table", 2.0, -1024.0)) == HuScaling("table", 2.0, -874.0)
    scaled = ValueMap.of(PRESETS["ct_clip"])
    assert (scaled.shift, scaled.factor) == (0.0, 1.0 / 1000.0)
    with pytest.raises(ValueError, match="expected a fixed one"):
        ValueMap.of(MR)

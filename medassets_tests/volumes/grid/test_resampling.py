"""One pass over the slices of a volume, against torch on whole arrays."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medassets.specs import PRESETS, CTPreprocessing
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.grid.geometry import plan_resampling
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import VoxelStatistics
from medassets.volumes.grid.resampling import resample_stream

STEPS = (0.9, 1.3, 2.1)
SCALINGS = [(1.0, 0.0), (1.0, -24.0), (0.5, -20.25)]


class ArrayReader:
    """Slices of an array in memory, each handed out once."""

    fortran = True

    def __init__(self, voxels: npt.NDArray[Any], affine: npt.NDArray[np.float64]) -> None:
        i, j, k = voxels.shape
        header = VolumeHeader.of_array((i, j, k), voxels.dtype)
        self.header = replace(header, affine=affine, affine_from="sform", pixdim_mm=STEPS)
        self.slices = iter(voxels.transpose(2, 1, 0))

    def read_into(self, target: np.ndarray) -> None:
        target[...] = next(self.slices)

    def finish(self) -> None:
        assert next(self.slices, None) is None


def run(
    voxels: npt.NDArray[Any],
    preset: CTPreprocessing,
    scaling: tuple[float, float] = (1.0, 0.0),
    affine: npt.NDArray[np.float64] | None = None,
) -> tuple[npt.NDArray[np.float16], VoxelStatistics]:
    reader = ArrayReader(voxels, np.diag([*STEPS, 1.0]) if affine is None else affine)
    out = np.full(preset.shape, np.nan, np.float16)
    statistics, _ = resample_stream(
        reader,
        plan_resampling(reader.header, preset, spacing_mm=STEPS),
        scaling=HuScaling("table", *scaling),
        preset=preset,
        out=out,
        buffers=BufferPool(),
    )
    reader.finish()
    return out, statistics


def make_voxels(dtype: Any, shape: tuple[int, ...] = (15, 17, 21)) -> npt.NDArray[Any]:
    return np.random.default_rng(2).integers(-1200, 1200, shape).astype(dtype)


def make_preset(shape: tuple[int, ...] = (11, 7, 9), **changes: Any) -> CTPreprocessing:
    i, j, k = shape
    return replace(PRESETS["ct_clip"], shape=(i, j, k), **changes)


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", ">f8"])
@pytest.mark.parametrize("shape", [(11, 7, 9), (40, 50, 70)], ids=["crop", "pad"])
def test_voxels_are_those_of_torch(
    shape: tuple[int, ...],
    dtype: str,
    scaling: tuple[float, float],
    oracle: Callable[..., Any],
    ulps: Callable[..., Any],
) -> None:
    voxels, preset = make_voxels(dtype), make_preset(shape)
    made, _ = run(voxels, preset, scaling)
    hu = voxels.astype(np.float64) * scaling[0] + scaling[1]
    distance = ulps(made, oracle(hu, STEPS, preset).astype(np.float16))
    assert distance.max() <= 1
    assert (distance == 0).mean() > 0.99


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("dtype", ["<i2", ">f4"])
def test_all_stored_voxels_are_counted_those_cropped_away_too(
    dtype: str, scaling: tuple[float, float]
) -> None:
    voxels = make_voxels(dtype)
    hu = voxels.astype(np.float64) * scaling[0] + scaling[1]
    _, statistics = run(voxels, make_preset((2, 3, 2)), scaling)
    changes = np.diff(voxels, axis=0, prepend=voxels[:1]) != 0
    assert statistics == VoxelStatistics(
        num_voxels=voxels.size,
        num_plausible=int(((hu >= -200) & (hu <= 300)).sum()),
        num_air=int((hu < -200).sum()),
        num_inner_air=int(((hu < -200) & changes).sum()),
        num_dark_air=int(((hu >= -1100) & (hu < -700) & changes).sum()),
        num_beyond=0,
        num_not_finite=0,
        is_constant=False,
    )


def test_voxels_that_are_not_finite_are_counted_in_the_last_slice_too() -> None:
    voxels = make_voxels("<f4")
    voxels[3, 4, -1], voxels[0, 0, 0] = np.nan, np.inf
    _, statistics = run(voxels, make_preset((2, 3, 2)))
    assert statistics.num_not_finite == 2


@pytest.mark.parametrize("dtype", ["<i2", "<f4"])
def test_one_value_that_differs_makes_a_volume_not_constant(dtype: str) -> None:
    voxels = np.full((15, 17, 21), 40, dtype)
    assert run(voxels, make_preset())[1].is_constant
    voxels[-1, -1, -1] = 41
    assert not run(voxels, make_preset())[1].is_constant


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 1, 0)])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1)])
def test_turned_axes_give_the_voxels_of_the_array_turned_first(
    order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    preset = make_preset(orientation="RAS", spacing_mm=(1.0, 1.0, 1.0))
    voxels = make_voxels("<i2")
    affine = np.zeros((4, 4))
    for axis, world in enumerate(order):
        affine[world, axis] = signs[axis] * STEPS[axis]
    affine[3, 3] = 1.0
    made, _ = run(voxels, preset, affine=affine)
    turned = voxels[tuple(slice(None, None, sign) for sign in signs)]
    stored_axis = np.argsort(order)
    plain = replace(preset, orientation="as_stored")
    reader = ArrayReader(turned.transpose(stored_axis), np.eye(4))
    spacing = tuple(STEPS[axis] for axis in stored_axis)
    expected = np.zeros(preset.shape, np.float16)
    resample_stream(
        reader,
        plan_resampling(reader.header, plain, spacing_mm=spacing),  # pyright: ignore[reportArgumentType]
        scaling=HuScaling("none", 1.0, 0.0),
        preset=plain,
        out=expected,
        buffers=BufferPool(),
    )
    np.testing.assert_allclose(made, expected, rtol=0, atol=2.0**-10)

"""Masks of windows against numpy, bounds included, for dtypes, scalings and both resolutions."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import STANDARD_WINDOWS, CTWindow
from medassets.storage.buffers import BufferPool
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.preprocessing import VolumeLimits
from medassets.volumes.windows.masks import choose_resolution, make_windows, name_window_file
from medassets.volumes.windows.occupancy import pack_mask
from medassets_tests import shared_data

STANDARD = tuple(STANDARD_WINDOWS.values())
ANY = VolumeLimits(min_slices=1, min_plausible_share=0, max_plausible_share=1, air_share=(0.0, 1.0))
REAL = shared_data.CT

Write = Callable[..., Path]


def compute_mask(hu: npt.NDArray[np.float64], width: float, level: float) -> npt.NDArray[Any]:
    """Return the public rule, word for word."""
    return (hu >= level - width / 2.0) & (hu <= level + width / 2.0)


def compare(
    path: Path,
    hu: npt.NDArray[np.float64],
    windows: Sequence[CTWindow] = STANDARD,
    rule: HuDeclaration | None = None,
) -> None:
    made = make_windows(path, windows, hu=rule, limits=ANY)
    assert len(made.bits) == len(windows)
    for window, bits in zip(windows, made.bits, strict=True):
        expected = pack_mask(compute_mask(hu, window.width, window.level))
        np.testing.assert_array_equal(bits, expected.bits, err_msg=window.name)
    within = ((hu >= -200) & (hu <= 300)).sum()
    assert (made.statistics.num_voxels, made.statistics.num_plausible) == (hu.size, within)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i2", "u2", "i1", "u1", "i4", "u4", "i8", "f4", "f8"])
@pytest.mark.parametrize("scaling", [(1.0, 0.0), (1.0, -1024.0), (0.5, -600.25), (-2.0, 7.0)])
def test_masks_are_those_of_numpy(
    dtype: str, order: Any, scaling: tuple[float, float], write_volume: Write
) -> None:
    rng = np.random.default_rng(1)
    limits = (0, 250) if dtype == "u1" else (-128, 127) if dtype == "i1" else (-3000, 3000)
    low, high = (max(limits[0], 0), 4000) if dtype in ("u2", "u4") else limits
    stored = rng.integers(low, high, (5, 7, 11)).astype(dtype)
    slope, intercept = scaling
    path = write_volume(stored, np.eye(4), order=order, scl_slope=slope, scl_inter=intercept)
    hu = stored.astype(np.float64) * slope + intercept
    compare(path, hu, rule=HuDeclaration("header"))


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.int32])
def test_both_ends_of_a_window_are_inside(dtype: Any, write_volume: Write) -> None:
    windows = (*STANDARD, CTWindow("odd", 81.0, 35.0), CTWindow("thin", 1.0, 0.5))
    ends = [n for w in windows for n in (w.low_hu, w.high_hu)]
    near = [np.floor(end) + step for end in ends for step in (-1, 0, 1, 2)]
    near += [*ends, *(np.nextafter(end, side) for end in ends for side in (-9e9, 9e9))]
    near += [-8192.0, -2000.0, 0.0]
    stored = np.array(near, np.float64).astype(dtype)
    stored = np.resize(stored, (5, 7, 11))
    made = make_windows(write_volume(stored, np.eye(4)), windows, limits=ANY)
    hu = stored.astype(np.float64)
    for window, bits in zip(windows, made.bits, strict=True):
        mask = compute_mask(hu, window.width, window.level)
        np.testing.assert_array_equal(bits, pack_mask(mask).bits)
        at_ends = [mask[hu == end] for end in (window.low_hu, window.high_hu)]
        assert all(inside.all() for inside in at_ends)
        assert not mask[hu == -2000].any()


def test_every_value_of_16_bits_is_judged_right(write_volume: Write) -> None:
    stored = np.arange(-32768, 32768, dtype=np.int16).reshape(256, 16, 16)
    for slope, intercept in ((1.0, 0.0), (0.1, -1000.3), (-0.7, 12.5)):
        path = write_volume(stored, np.eye(4), scl_slope=slope, scl_inter=intercept)
        header: Any = nib.load(path)
        slope, intercept = header.dataobj.slope, header.dataobj.inter
        hu = stored.astype(np.float64) * slope + intercept
        compare(path, hu, rule=HuDeclaration("header"))


@pytest.mark.parametrize("num", [1, 3, 5, 8, 9, 20])
def test_any_number_of_windows_comes_out_of_one_pass(num: int, write_volume: Write) -> None:
    windows = [CTWindow(f"w{n}", 20.0 + 7 * n, -300.0 + 40 * n) for n in range(num)]
    stored = np.random.default_rng(num).integers(-900, 900, (9, 5, 7)).astype(np.int16)
    compare(write_volume(stored, np.eye(4)), stored.astype(np.float64), windows)


@pytest.mark.parametrize(
    ("shape", "resolution"),
    [((512, 5, 7), 512), ((513, 5, 7), 1024), ((5, 600, 7), 1024), ((3, 5, 1024), 1024)],
)
def test_volumes_of_both_resolutions(
    shape: tuple[int, int, int], resolution: int, write_volume: Write
) -> None:
    assert choose_resolution(shape) == resolution
    stored = np.random.default_rng(0).integers(-1500, 1500, shape).astype(np.int16)
    compare(write_volume(stored, np.eye(4)), stored.astype(np.float64))


def test_pieces_of_a_large_volume_join_without_a_seam(write_volume: Write) -> None:
    stored = np.random.default_rng(0).integers(-1500, 1500, (101, 103, 37)).astype(np.int16)
    compare(write_volume(stored, np.eye(4)), stored.astype(np.float64))
    floats = stored.astype(np.float32) + np.float32(0.25)
    compare(write_volume(floats, np.eye(4)), floats.astype(np.float64))


@pytest.mark.parametrize("shape", [(1025, 2, 2), (2, 1030, 2), (2, 2, 2062)])
def test_a_side_above_1024_is_refused(shape: tuple[int, ...], write_volume: Write) -> None:
    path = write_volume(np.zeros(shape, np.int16), np.eye(4))
    sides = " x ".join(map(str, shape))
    with pytest.raises(SampleRejectedError, match=f"the volume is {sides}.*1024 at most") as caught:
        make_windows(path, STANDARD)
    assert caught.value.reason is Reason.TOO_LARGE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hu: hu * 0 + 40, Reason.CONSTANT_VOLUME),
        (lambda hu: hu - 3000, Reason.HU_IMPLAUSIBLE),
        (lambda hu: np.where(hu == hu.max(), np.nan, hu), Reason.NOT_FINITE),
    ],
)
@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_guards_are_those_of_volumes(
    change: Any, reason: Reason, dtype: Any, write_volume: Write, phantom: Any
) -> None:
    if reason is Reason.NOT_FINITE and dtype is np.int16:
        pytest.skip("integers are finite")
    stored = change(phantom().astype(np.float32)).astype(dtype)
    with pytest.raises(SampleRejectedError) as caught:
        make_windows(write_volume(stored, np.eye(4)), STANDARD)
    assert caught.value.reason is reason


def test_used_memory_leaves_no_points_behind_the_last_voxel(write_volume: Write) -> None:
    stored = np.random.default_rng(0).integers(-1500, 1500, (5, 7, 11)).astype(np.int16)
    path = write_volume(stored, np.eye(4))
    used = np.full(1 << 20, 255, np.uint8)
    made = make_windows(
        path, STANDARD, lend=lambda num: used[:num], limits=ANY, buffers=BufferPool()
    )
    fresh = make_windows(path, STANDARD, limits=ANY)
    np.testing.assert_array_equal(made.bits, fresh.bits)
    assert np.shares_memory(made.bits, used)


def test_files_are_named_as_existing_tools_name_them() -> None:
    names = [name_window_file(window) for window in STANDARD]
    assert names == [
        "lung_w1500_l-600.npy",
        "bone_w1500_l300.npy",
        "soft_tissue_w400_l50.npy",
        "brain_w80_l35.npy",
    ]
    assert name_window_file(CTWindow("half", 0.5, -12.25)) == "half_w0.5_l-12.25.npy"
    assert name_window_file(CTWindow("large", 100000.0, 99999.0)) == "large_w100000_l99999.npy"


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real CT is not there")
def test_windows_of_real_volumes_are_those_of_numpy() -> None:
    for path in sorted(REAL.glob("*.nii.gz")):
        image: Any = nib.load(path)
        hu = image.dataobj.get_unscaled().astype(np.float64)
        compare(path, hu * image.dataobj.slope + image.dataobj.inter, rule=HuDeclaration("header"))


def test_no_order_of_axes_is_taken_for_another(write_volume: Write) -> None:
    """Every one of 5 x 7 x 11 voxels alone, found where it is."""
    window = (CTWindow("one", 1.0, 100.0),)
    for i, j, k in itertools.product((0, 3, 4), (0, 2, 6), (0, 5, 10)):
        stored = np.zeros((5, 7, 11), np.int16)
        stored[i, j, k] = 100
        made = make_windows(write_volume(stored, np.eye(4)), window, limits=ANY)
        numbers = np.flatnonzero(np.unpackbits(made.bits[0], bitorder="little"))
        assert numbers.tolist() == [i + 5 * (j + 7 * k)]

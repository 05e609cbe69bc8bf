"""Voxels against torch, stored forms against each other, bad volumes against their reasons."""

import gzip
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import PRESETS, CTPreprocessing
from medassets.storage.buffers import BufferPool
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.preprocessing import PreprocessedVolume, VolumeLimits, preprocess_volume

NO_GUARD = VolumeLimits(
    min_slices=1, min_plausible_share=0.0, max_plausible_share=1.0, air_share=(0.0, 1.0)
)
STEPS = (0.9, 1.3, 2.1)


def small_preset(shape: tuple[int, ...] = (11, 7, 9), **changes: Any) -> CTPreprocessing:
    i, j, k = shape
    return replace(PRESETS["ct_clip"], shape=(i, j, k), **changes)


def run(path: Path, preset: CTPreprocessing | None = None, **options: Any) -> PreprocessedVolume:
    options.setdefault("limits", NO_GUARD)
    return preprocess_volume(path, preset=preset or small_preset(), **options)


def make_hard_voxels(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Return noise, full contrast (float32 loses most near zero), or values around zero."""
    dtype = rng.choice(["i2", "f4", "f8"])
    kind = rng.integers(3)
    if kind == 0:
        voxels = rng.integers(-1400, 1400, shape).astype(dtype)
    elif kind == 1:
        voxels = rng.choice([-1000, 1000], shape).astype(dtype)
    else:
        voxels = rng.integers(-3, 4, shape).astype(dtype)
    return voxels if dtype == "i2" else voxels + rng.random(shape).astype(dtype) / 4


def reject(path: Path, reason: Reason, **options: Any) -> str:
    options.setdefault("limits", VolumeLimits())
    with pytest.raises(SampleRejectedError, match=str(reason)) as caught:
        run(path, **options)
    assert caught.value.reason is reason
    assert str(path.parent) not in caught.value.detail
    return caught.value.detail


def test_200_random_volumes_are_within_one_step_of_torch(
    tmp_path: Path, oracle: Callable[..., Any], ulps: Callable[..., Any], write_volume: Any
) -> None:
    rng = np.random.default_rng(7)
    num_voxels = num_equal = 0
    for _ in range(220):
        stored_shape = tuple(int(n) for n in rng.integers(2, 60, 3))
        spacing = tuple(float(step) for step in rng.uniform(0.3, 4.0, 3))
        preset = small_preset(tuple(int(n) for n in rng.integers(1, 70, 3)))
        if any(
            int(n * (s / t)) < 1
            for n, s, t in zip(stored_shape, spacing, preset.spacing_mm, strict=True)
        ):
            continue
        stored = make_hard_voxels(rng, stored_shape)
        path = write_volume(stored, np.diag([*spacing, 1.0]), name="volume.nii")
        made = run(path, preset, spacing_mm=spacing).array
        distance = ulps(made, oracle(stored, spacing, preset).astype(np.float16))
        assert distance.max() <= 1, (stored_shape, spacing, preset.shape)
        num_voxels += distance.size
        num_equal += int((distance == 0).sum())
    assert num_equal / num_voxels >= 0.999


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        ((40, 40, 40), (1.5, 1.5, 3.0)),
        ((5, 7, 11), (0.75, 0.75, 1.5)),
        ((5, 60, 11), (0.5, 0.9, 1.0)),
        ((16, 16, 40), (0.75, 0.75, 6.0)),
        ((90, 90, 90), (0.2, 0.2, 0.3)),
    ],
    ids=["crop", "pad", "both", "upsample", "downsample"],
)
def test_crop_pad_and_both_match_torch(
    shape: tuple[int, int, int],
    spacing: tuple[float, float, float],
    oracle: Any,
    ulps: Any,
    write_volume: Any,
    phantom: Any,
) -> None:
    stored, preset = phantom(shape), small_preset((24, 20, 33))
    made = run(write_volume(stored, np.diag([*spacing, 1.0])), preset, spacing_mm=spacing).array
    distance = ulps(made, oracle(stored, spacing, preset).astype(np.float16))
    assert distance.max() <= 1
    assert (distance == 0).mean() >= 0.999


@pytest.mark.parametrize(
    "dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"], ids=str
)
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_every_stored_dtype_gives_the_same_voxels(
    dtype: str, order: str, write_volume: Any, make_affine: Any
) -> None:
    stored = np.random.default_rng(3).integers(0, 100, (5, 7, 11))
    affine = make_affine(STEPS)
    expected = run(write_volume(stored.astype("i2"), affine, name="expected.nii.gz")).array
    made = run(write_volume(stored.astype(dtype), affine, order=order))
    np.testing.assert_array_equal(made.array, expected)
    assert made.dtype == np.dtype(dtype).name


@pytest.mark.parametrize("kind", [nib.Nifti1Header, nib.Nifti2Header])
@pytest.mark.parametrize("name", ["volume.nii", "volume.nii.gz"])
def test_both_nifti_versions_plain_and_compressed_agree_with_nibabel(
    kind: Any,
    name: str,
    write_volume: Any,
    make_affine: Any,
    phantom: Any,
    oracle: Any,
    ulps: Any,
) -> None:
    path = write_volume(phantom(), make_affine(STEPS), kind=kind, name=name)
    image: Any = nib.load(path)
    expected = oracle(np.asarray(image.dataobj), STEPS, small_preset()).astype(np.float16)
    assert ulps(run(path, spacing_mm=STEPS).array, expected).max() <= 1


def test_the_three_hu_rules_give_equal_arrays(
    write_volume: Any, make_affine: Any, phantom: Any
) -> None:
    hu, affine = phantom(), make_affine(STEPS)
    np.maximum(hu, -1024, out=hu)
    raw = (hu + 1024).astype(np.uint16)
    plain = run(write_volume(hu, affine), hu=HuDeclaration("none"))
    table = run(write_volume(raw, affine), hu=HuDeclaration("table", 1.0, -1024.0))
    scaled = write_volume(raw, affine, scl_slope=1.0, scl_inter=-1024.0)
    header = run(scaled, hu=HuDeclaration("header"))
    np.testing.assert_array_equal(plain.array, table.array)
    np.testing.assert_array_equal(plain.array, header.array)
    found = [made.hu or {} for made in (plain, table, header)]
    assert [hu["rule"] for hu in found] == ["none", "table", "header"]
    assert found[0]["plausible_share"] == found[1]["plausible_share"]
    assert found[2]["intercept"] == -1024.0


@pytest.mark.parametrize("dtype", ["i2", "u2", "i4", "f4", "f8"])
def test_a_fractional_slope_is_applied_once_and_before_the_clip(
    dtype: str, write_volume: Any, oracle: Any, ulps: Any, make_affine: Any
) -> None:
    stored = np.random.default_rng(5).integers(0, 9000, (12, 9, 8)).astype(dtype)
    path = write_volume(stored, make_affine(STEPS))
    made = run(path, spacing_mm=STEPS, hu=HuDeclaration("table", 0.37, -1100.5)).array
    expected = oracle(stored.astype(np.float64) * 0.37 - 1100.5, STEPS, small_preset())
    assert ulps(made, expected.astype(np.float16)).max() <= 1


def test_clipping_comes_before_interpolation(write_volume: Any) -> None:
    stored = np.full((8, 8, 8), 40, np.int16)
    stored[:4] = -8192
    preset = small_preset((20, 8, 8), spacing_mm=(0.5, 1.0, 1.0))
    made = run(write_volume(stored, np.eye(4)), preset, spacing_mm=(1.0, 1.0, 1.0)).array
    assert made.min() == -1.0
    between = made[8:12, 4, 4].astype(np.float64)
    np.testing.assert_allclose(between, [-1.0, -0.74, -0.22, 0.04], atol=5e-4)


@pytest.mark.parametrize("orientation", ["LPS", "RAS"])
@pytest.mark.parametrize("columns", [(0, 1, 2), (2, 0, 1), (1, 0, 2), (2, 1, 0)], ids=str)
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, -1)], ids=str)
def test_reorienting_equals_reorienting_the_stored_volume_first(
    orientation: Any,
    columns: tuple[int, int, int],
    signs: tuple[int, int, int],
    write_volume: Any,
    make_affine: Any,
    phantom: Any,
    oracle: Any,
    ulps: Any,
) -> None:
    # No size is a whole number: the header's float32 spacing rounds as float64 does.
    affine = make_affine((0.91, 1.31, 2.11))
    affine[:3, :3] = (affine[:3, :3] * signs)[:, columns]
    stored = phantom((13, 10, 40))
    preset = small_preset((12, 10, 35), orientation=orientation)
    made = run(write_volume(stored, affine), preset)
    ornt = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(orientation))
    )
    turned = nib.orientations.apply_orientation(stored, ornt)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)[np.argsort(ornt[:, 0])]
    expected = oracle(turned, tuple(spacing), preset).astype(np.float16)
    assert ulps(made.array, expected).max() <= 1
    assert made.geometry["output"]["axis_codes"] == orientation


def test_another_processor_gives_the_same_bytes(
    tmp_path: Path, write_volume: Any, phantom: Any
) -> None:
    path = write_volume(phantom((60, 50, 40)), np.diag([*STEPS, 1.0]))
    code = (
        "import sys, pathlib, hashlib; from medassets.specs import PRESETS; "
        "from medassets.volumes.grid.preprocessing import preprocess_volume; "
        "made = preprocess_volume(pathlib.Path(sys.argv[1]), preset=PRESETS['ct_clip']); "
        "print(hashlib.sha256(made.array).hexdigest())"
    )
    # The plainest x86-64 or ARM: no AVX, no fused multiply-add, no float16 conversion.
    plain = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": "cache"}
    environment = {**os.environ, **plain}
    command = [sys.executable, "-c", code, str(path)]
    digest = subprocess.check_output(command, env=environment, cwd=tmp_path, text=True).strip()
    assert digest == hashlib.sha256(run(path, PRESETS["ct_clip"]).array.data).hexdigest()


def test_a_given_output_and_reused_buffers_change_nothing(
    write_volume: Any, make_affine: Any, phantom: Any
) -> None:
    path = write_volume(phantom(), make_affine(STEPS))
    expected = run(path).array
    buffers = BufferPool()
    for _ in range(3):
        with buffers.borrow((11, 7, 9), np.float16) as out:
            out.fill(np.nan)
            made = run(path, out=out, buffers=buffers)
            assert made.array is out
            np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    "out",
    [np.empty((7, 11, 9), "f2"), np.empty((11, 7, 9), "f4"), np.empty((9, 7, 11), "f2").T],
    ids=["shape", "dtype", "order"],
)
def test_an_unfit_output_is_refused(out: Any, write_volume: Any, phantom: Any) -> None:
    with pytest.raises(ValueError, match="out: expected C-contiguous float16"):
        run(write_volume(phantom(), np.eye(4)), out=out)


def test_a_truncated_gzip_is_rejected(write_volume: Any, make_affine: Any, phantom: Any) -> None:
    path = write_volume(phantom(), make_affine(STEPS))
    content = path.read_bytes()
    for length in (2, 15, len(content) // 2, len(content) - 8, len(content) - 1):
        path.write_bytes(content[:length])
        reject(path, Reason.CORRUPT_GZIP)


def test_every_flipped_bit_is_seen(write_volume: Any, make_affine: Any, phantom: Any) -> None:
    path = write_volume(phantom(), make_affine(STEPS))
    content = path.read_bytes()
    for position in range(10, len(content), 37):
        damaged = bytearray(content)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with pytest.raises(SampleRejectedError, match=r"corrupt_gzip|bad_header|spacing_mi"):
            run(path)


def test_garbage_after_the_gzip_stream_is_rejected_and_zero_padding_is_not(
    write_volume: Any, make_affine: Any, phantom: Any
) -> None:
    path = write_volume(phantom(), make_affine(STEPS))
    expected, content = run(path).array, path.read_bytes()
    path.write_bytes(content + b"\0" * 1000)
    np.testing.assert_array_equal(run(path).array, expected)
    path.write_bytes(content + b"left over")
    reject(path, Reason.CORRUPT_GZIP)


def test_several_gzip_members_are_one_file(
    write_volume: Any, make_affine: Any, phantom: Any
) -> None:
    path = write_volume(phantom(), make_affine(STEPS))
    expected, content = run(path).array, gzip.decompress(path.read_bytes())
    pieces = (content[:100], b"", content[100:900], content[900:])
    path.write_bytes(b"".join(gzip.compress(piece) for piece in pieces))
    np.testing.assert_array_equal(run(path).array, expected)


def test_nan_spacing_is_rejected(write_volume: Any, make_affine: Any, phantom: Any) -> None:
    path = write_volume(phantom(), make_affine(STEPS), pixdim=[1, np.nan, 1, 1, 0, 0, 0, 0])
    assert run(path).geometry["source"]["affine_from"] == "sform"
    path = write_volume(phantom(), np.eye(4), sform_code=0, pixdim=[1, np.nan, 1, 1, 0, 0, 0, 0])
    reject(path, Reason.SPACING_MISSING)
    reject(write_volume(phantom(), make_affine((np.nan, 1, 1))), Reason.SPACING_MISSING)
    reject(write_volume(phantom(), np.eye(4)), Reason.SPACING_MISSING, spacing_mm=(1, np.nan, 1))


def test_an_all_constant_volume_is_rejected(write_volume: Any) -> None:
    for dtype in ("i2", "i4", "f8"):
        stored = np.full((5, 7, 11), 40, dtype)
        reject(write_volume(stored, np.eye(4)), Reason.CONSTANT_VOLUME)


def test_a_volume_rescaled_twice_is_rejected(
    write_volume: Any, make_affine: Any, phantom: Any
) -> None:
    limits = VolumeLimits()
    assert run(write_volume(phantom(), make_affine(STEPS)), limits=limits)
    twice = write_volume((phantom() - 1024).astype(np.int16), make_affine(STEPS))
    assert "of the voxels are within [-200, 300] HU" in reject(twice, Reason.HU_IMPLAUSIBLE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_voxels_that_are_not_finite_are_rejected(
    value: float, dtype: str, write_volume: Any, phantom: Any
) -> None:
    stored = phantom().astype(dtype)
    stored[3, 2, 1] = value
    detail = reject(write_volume(stored, np.eye(4)), Reason.NOT_FINITE)
    assert detail.startswith("1 of 819 voxels")


def test_one_slice_is_too_few(write_volume: Any, phantom: Any) -> None:
    reject(write_volume(phantom((13, 9, 1)), np.eye(4)), Reason.TOO_FEW_SLICES)


def test_a_volume_smaller_than_one_output_voxel_is_too_few(write_volume: Any, phantom: Any) -> None:
    path = write_volume(phantom((13, 9, 2)), np.diag([1, 1, 0.1, 1]))
    assert "do not make one" in reject(path, Reason.TOO_FEW_SLICES)


def test_a_failed_volume_gives_its_buffers_back(write_volume: Any) -> None:
    buffers, path = BufferPool(), write_volume(np.full((5, 7, 11), 40, "i2"), np.eye(4))
    reject(path, Reason.CONSTANT_VOLUME, buffers=buffers)
    free_bytes = buffers.free_bytes
    reject(path, Reason.CONSTANT_VOLUME, buffers=buffers)
    assert buffers.free_bytes == free_bytes > 0

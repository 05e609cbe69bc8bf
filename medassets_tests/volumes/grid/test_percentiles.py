"""Percentiles without the volume in memory are those of numpy with it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.percentiles import find_percentile_range

STORED = HuScaling("header", 1.0, 0.0)


def find(
    path: Path, percentiles: tuple[float, float], scaling: HuScaling = STORED
) -> tuple[float, float]:
    return find_percentile_range(
        partial(open_nifti, path), percentiles, scaling=scaling, buffers=BufferPool()
    )


def make_values(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return values over the whole range of a dtype, with ties, zeros of both signs and tiny ones."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        exponents = rng.integers(-30, 30, shape).astype(kind)
        values = rng.standard_normal(shape).astype(kind) * kind.type(2) ** exponents
        values[rng.random(shape) < 0.2] = 0.0
        values[rng.random(shape) < 0.1] = -0.0
        return values
    limits = np.iinfo(kind)
    wide = rng.integers(limits.min, limits.max, shape, kind, endpoint=True)
    return np.where(rng.random(shape) < 0.3, kind.type(7), wide)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"], ids=["little", "big"])
def test_percentiles_are_those_of_numpy(dtype: str, order: str, write_volume: Any) -> None:
    rng = np.random.default_rng(3)
    stored = make_values(rng, dtype, (5, 7, 11))
    path = write_volume(stored, np.eye(4), order=order)
    for percentiles in ((0.0, 100.0), (0.5, 99.5), (12.5, 87.5), (70.0, 70.6)):
        expected = np.percentile(stored.astype(np.float64), percentiles)
        assert find(path, percentiles) == pytest.approx(expected, rel=1e-12, abs=0)


def test_values_beside_a_cut_between_pieces_are_counted_once(write_volume: Any) -> None:
    stored = np.random.default_rng(1).integers(-9000, 9000, (64, 63, 70)).astype("i2")
    path = write_volume(stored, np.eye(4))
    assert find(path, (0.5, 99.5)) == pytest.approx(np.percentile(stored, (0.5, 99.5)), rel=1e-12)


@pytest.mark.parametrize("slope", [2.5, -0.25])
def test_percentiles_are_those_of_the_values_of_the_file(slope: float, write_volume: Any) -> None:
    stored = np.random.default_rng(5).integers(0, 900, (5, 7, 11)).astype("i2")
    scaling = HuScaling("header", slope, -3.0)
    expected = np.percentile(stored * slope - 3.0, (2.0, 99.0))
    assert find(write_volume(stored, np.eye(4)), (2.0, 99.0), scaling) == pytest.approx(expected)


def reject(path: Path, reason: Reason) -> str:
    with pytest.raises(SampleRejectedError, match=str(reason)) as caught:
        find(path, (0.5, 99.5))
    assert caught.value.reason is reason
    return caught.value.detail


def test_a_volume_that_is_mostly_one_value_is_refused_with_a_remedy(write_volume: Any) -> None:
    stored = np.zeros((20, 20, 20), "i2")
    stored[3, 4, 5] = 900
    detail = reject(write_volume(stored, np.eye(4)), Reason.CONSTANT_VOLUME)
    assert detail == (
        "percentiles 0.5 and 99.5 of all voxels are both 0; a volume that is mostly one value needs a "
        "fixed range, see clip"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted(value: float, write_volume: Any) -> None:
    stored = np.random.default_rng(5).random((5, 7, 11)).astype("f4")
    stored[1, 2, 3:5] = value
    detail = reject(write_volume(stored, np.eye(4)), Reason.NOT_FINITE)
    assert detail == "2 of 385 voxels are not finite"


def test_every_pass_reads_to_the_end_of_the_file(
    write_volume: Any, make_affine: Callable[..., Any]
) -> None:
    stored = np.random.default_rng(5).integers(0, 900, (5, 7, 11)).astype("i2")
    path = write_volume(stored, np.eye(4))
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    reject(path, Reason.CORRUPT_GZIP)

"""Volumes in arrays give the voxels that the same volumes give as NIfTI, to the last byte."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from medassets.errors import SampleRejectedError
from medassets.specs import PRESETS
from medassets.storage.buffers import BufferPool
from medassets.tars.reader import Member
from medassets.volumes.files.array_files import (
    open_npy_array,
    open_npz_array,
    open_raw_array,
)
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.slices import open_slices
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.preprocessing import PreprocessedVolume, VolumeLimits, preprocess_volume

NO_GUARD = VolumeLimits(
    min_slices=1, min_plausible_share=0.0, max_plausible_share=1.0, air_share=(0.0, 1.0)
)
STEPS = (0.9, 1.3, 2.1)
PRESET = replace(PRESETS["ct_clip"], shape=(40, 31, 45))
SHAPES = [(5, 7, 11), (45, 37, 70), (32, 64, 33), (70, 5, 129)]
DTYPES = [f"{order}{kind}" for order in "<>" for kind in ("i2", "u2", "i4", "f2", "f4", "f8", "i8")]
ORDERS: tuple[Literal["C", "F"], ...] = ("C", "F")
RULES = {
    "none": HuDeclaration("none"),
    "whole": HuDeclaration("table", slope=1.0, intercept=-24.0),
    "broken": HuDeclaration("table", slope=1.5, intercept=-20.25),
}


def make_stored(dtype: str, shape: tuple[int, ...] = (45, 37, 70)) -> np.ndarray:
    """Return HU of tissue, such as every dtype here holds; fractions where it can."""
    stored = np.random.default_rng(4).integers(0, 1500, shape).astype("f8")
    if dtype[1] != "u":
        stored -= 900
    if dtype[1] == "f":
        stored += 0.5
    return stored.astype(dtype)


def read_volume(opened: AbstractContextManager[VolumeStream]) -> np.ndarray:
    """Return voxels (i, j, k) from slices (j, i)."""
    with open_slices(opened, buffers=BufferPool()) as reader:
        i, j, k = reader.header.shape
        slices = np.empty((k, j, i), reader.header.dtype)
        for voxels in slices:
            reader.read_into(voxels)
        reader.finish()
        return slices.transpose()


def run(path: Path, opened: Any = None, **options: Any) -> PreprocessedVolume:
    if opened is not None:
        buffers = options.setdefault("buffers", BufferPool())
        options["opener"] = lambda _: open_slices(opened, buffers=buffers)
    return preprocess_volume(path, preset=PRESET, limits=NO_GUARD, spacing_mm=STEPS, **options)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["|i1", "|u1", *DTYPES])
def test_slices_are_those_of_the_array(
    shape: tuple[int, int, int], dtype: str, tmp_path: Path
) -> None:
    stored = np.random.default_rng(2).integers(0, 100, shape).astype(dtype)
    expected = stored.astype("f4") if dtype.endswith("f2") else stored
    for order in ORDERS:
        np.savez(tmp_path / "volume.npz", data=stored.copy(order))
        made = read_volume(open_npz_array(tmp_path / "volume.npz", "data"))
        np.testing.assert_array_equal(made, expected)
        assert made.dtype == expected.dtype


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_array_gives_the_bytes_that_nifti_gives(
    dtype: str, rule: HuDeclaration, write_volume: Any, make_affine: Any, tmp_path: Path
) -> None:
    stored = make_stored(dtype)
    in_nifti = stored.astype("f4") if dtype.endswith("f2") else stored
    nifti = write_volume(in_nifti, make_affine(STEPS), name="volume.nii", order=dtype[0])
    expected = run(nifti, hu=rule)
    for order in ORDERS:
        path = tmp_path / "volume.npz"
        np.savez_compressed(path, data=stored.copy(order))
        made = run(path, open_npz_array(path, "data"), hu=rule)
        assert made.array.tobytes() == expected.array.tobytes()
        assert made.hu == expected.hu
        assert made.dtype == expected.dtype


def test_npy_and_plain_bytes_give_the_same_too(
    write_volume: Any, make_affine: Any, tmp_path: Path
) -> None:
    stored = make_stored("<i2")
    expected = run(write_volume(stored, make_affine(STEPS)))
    np.save(tmp_path / "volume.npy", stored)
    (tmp_path / "volume.bin").write_bytes(stored.tobytes())
    for opened in (
        open_npy_array(tmp_path / "volume.npy"),
        open_raw_array(tmp_path / "volume.bin", shape=stored.shape, dtype="int16"),
    ):
        assert run(tmp_path, opened).array.tobytes() == expected.array.tobytes()


def test_the_header_is_blank_and_the_record_has_the_spacing_of_the_table(tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    np.savez(path, data=make_stored("<f2"))
    with open_slices(open_npz_array(path, "data"), buffers=BufferPool()) as reader:
        header = reader.header
    assert (header.pixdim_mm, header.affine_from) == ((1.0, 1.0, 1.0), "pixdim")
    assert (header.slope, header.intercept, header.dtype) == (None, None, np.float32)
    np.testing.assert_array_equal(header.affine, np.eye(4))
    source = run(path, open_npz_array(path, "data")).geometry["source"]
    assert source["spacing_mm"] == list(STEPS)


@pytest.mark.parametrize("order", ORDERS)
def test_buffers_come_back_and_are_not_made_anew(order: Any, tmp_path: Path) -> None:
    path, buffers = tmp_path / "volume.npz", BufferPool()
    np.savez_compressed(path, data=make_stored(">f2").copy(order))
    out = np.empty(PRESET.shape, np.float16)
    run(path, open_npz_array(path, "data"), buffers=buffers, out=out)
    free_bytes = buffers.free_bytes
    run(path, open_npz_array(path, "data"), buffers=buffers, out=out)
    assert buffers.free_bytes == free_bytes > 0
    np.save(path.with_suffix(".npy"), make_stored(">f2").copy(order))
    with path.with_suffix(".npy").open("r+b") as file:
        cut_off = Member("npz", 0, file.seek(0, 2))
        file.truncate(100_000)
    opened = open_npy_array(path.with_suffix(".npy"), within=cut_off)
    with pytest.raises(SampleRejectedError, match="ends before the last value"):
        run(path, opened, buffers=buffers, out=out)
    assert buffers.free_bytes == free_bytes


@pytest.mark.parametrize("order", ORDERS)
def test_a_wrong_checksum_makes_no_sample(order: Any, tmp_path: Path) -> None:
    path = tmp_path / "volume.npz"
    np.savez(path, data=make_stored("<i2").copy(order))
    content = bytearray(path.read_bytes())
    content[5000] ^= 1
    path.write_bytes(content)
    with pytest.raises(SampleRejectedError, match="corrupt_npz: CRC-32"):
        run(path, open_npz_array(path, "data"))

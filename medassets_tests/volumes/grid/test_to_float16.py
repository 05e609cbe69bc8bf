"""float16 voxels and the figures on them against numpy on whole arrays."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.array_files import open_npy_array, open_npz_array
from medassets.volumes.grid import to_float16
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import VoxelCounter
from medassets.volumes.grid.to_float16 import HalfStatistics, check_half, convert_to_half

ORDERS: tuple[Literal["C", "F"], ...] = ("C", "F")
SHAPES = [(5, 7, 11), (45, 37, 70), (64, 33, 96)]
KINDS = ("i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
DTYPES = ["|i1", "|u1", *(f"{order}{kind}" for order in "<>" for kind in KINDS)]


def convert(
    values: np.ndarray, folder: Path, *, order: Literal["C", "F"] = "C"
) -> tuple[np.ndarray, HalfStatistics]:
    """Save, convert, and return the float16 values with their figures."""
    np.savez(folder / "volume.npz", data=values.copy(order))
    out = np.empty(values.shape, np.float16)
    with open_npz_array(folder / "volume.npz", "data") as stream:
        return out, convert_to_half(stream, out, buffers=BufferPool())


def lay_out(values: Any, dtype: Any) -> np.ndarray:
    """Return a volume that begins with these values; they fill it over and over."""
    return np.resize(np.asarray(values, dtype), (13, 9, 37))


def reject(
    values: np.ndarray, folder: Path, reason: Reason, match: str, tolerance: float | None = None
) -> None:
    for order in ORDERS:
        _, statistics = convert(values, folder, order=order)
        with pytest.raises(SampleRejectedError, match=match) as caught:
            check_half(statistics, max_rounding_error=tolerance)
        assert caught.value.reason is reason


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("order", ORDERS)
def test_a_small_array_is_counted_whole(
    tmp_path: Path, dtype: str, order: Literal["C", "F"]
) -> None:
    values = lay_out([3, 90, 0, 7, 120], dtype)
    np.savez(tmp_path / "volume.npz", data=values.copy(order))
    counter = VoxelCounter(HuScaling("table", 10.0, -1000.0), np.dtype(dtype))
    with open_npz_array(tmp_path / "volume.npz", "data") as stream:
        convert_to_half(
            stream, np.empty(values.shape, np.float16), buffers=BufferPool(), counter=counter
        )
    found = counter.statistics()
    assert found.num_voxels == values.size
    hu = values.astype(np.float64) * 10 - 1000
    assert found.num_air == (hu < -200).sum()
    assert found.num_plausible == ((hu >= -200) & (hu <= 300)).sum()


def test_of_a_large_array_pieces_at_equal_distances_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(to_float16, "_PIECE_VALUES", 100)
    monkeypatch.setattr(to_float16, "_COUNTED_PIECES", 10)
    # Air in the first half: a sample of the beginning alone would see nothing else.
    values = np.concatenate([np.full(5000, -1000), np.full(5000, 40)]).reshape(10, 10, 100)
    np.savez(tmp_path / "volume.npz", data=values.astype(np.int16))
    counter = VoxelCounter(HuScaling("none", 1.0, 0.0), np.dtype(np.int16))
    with open_npz_array(tmp_path / "volume.npz", "data") as stream:
        out = np.empty(values.shape, np.float16)
        convert_to_half(stream, out, buffers=BufferPool(), counter=counter)
    np.testing.assert_array_equal(out, values)
    found = counter.statistics()
    assert (found.num_voxels, found.num_air, found.num_plausible) == (1000, 500, 500)


def assert_as_numpy(values: np.ndarray, folder: Path) -> None:
    """Compare bits and figures of values that float16 can hold."""
    expected = values.astype(np.float16)
    wide = values.astype(np.float64)
    for order in ORDERS:
        made, statistics = convert(values, folder, order=order)
        np.testing.assert_array_equal(made.view(np.uint16), expected.view(np.uint16))
        assert statistics == HalfStatistics(
            largest=np.abs(wide).max(),
            max_rounding_error=np.abs(wide - expected.astype(np.float64)).max(),
            num_not_finite=0,
            num_overflow=0,
            is_constant=False,
        )


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES)
def test_values_and_figures_are_those_of_numpy(
    dtype: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(11)
    kind = dtype[1]
    if kind == "f":
        values = rng.normal(0, 1, shape) * 10.0 ** rng.uniform(-9, 4, shape)
    else:
        top = min(65504, np.iinfo(dtype).max)
        values = rng.integers(-top if kind == "i" else 0, top, shape, endpoint=True)
    assert_as_numpy(values.astype(dtype), tmp_path)


@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<f4", "<f8", ">f2"])
def test_every_whole_hu_of_ct_is_kept_exactly_up_to_2048(dtype: str, tmp_path: Path) -> None:
    ramp = np.arange(-1024, 3072)
    for values in (ramp, ramp[:3073]):
        stored = np.resize(values, (17, 16, 64)).astype(dtype)
        assert_as_numpy(stored, tmp_path)
    _, statistics = convert(np.resize(ramp, (16, 4, 64)).astype("<i2"), tmp_path)
    assert (statistics.largest, statistics.max_rounding_error) == (3071.0, 1.0)
    _, statistics = convert(np.resize(ramp[:3073], (16, 4, 64)).astype("<i2"), tmp_path)
    assert (statistics.largest, statistics.max_rounding_error) == (2048.0, 0.0)


@pytest.mark.parametrize("dtype", ["<u2", "<i4", "<u4", "<i8", "<u8", "<f4", "<f8", ">i4", ">f4"])
def test_65504_fits_and_65505_does_not(dtype: str, tmp_path: Path) -> None:
    made, statistics = convert(lay_out([0, 65504, 7], dtype), tmp_path)
    assert (made.max(), statistics.largest) == (65504, 65504.0)
    check_half(statistics, max_rounding_error=0.0)
    match = "1443 voxels beyond 65504, the largest {}; float16 cannot hold them"
    for largest in (65505, 65535):
        values = lay_out([0, largest, 7], dtype)
        reject(values, tmp_path, Reason.PRECISION, match.format(largest))
    if dtype != "<u2":
        reject(lay_out([0, 70000, 7], dtype), tmp_path, Reason.PRECISION, match.format(70000))
    if dtype[1] != "u":
        reject(lay_out([0, -65505, 7], dtype), tmp_path, Reason.PRECISION, match.format(65505))


@pytest.mark.parametrize(
    ("dtype", "value"),
    [("<i8", -(2**63)), ("<i8", 2**63 - 1), ("<u8", 2**64 - 1), ("<i4", -(2**31)), ("<f8", 1e300)],
)
def test_values_far_beyond_are_counted(dtype: str, value: Any, tmp_path: Path) -> None:
    made, statistics = convert(lay_out([2049, value, 3], dtype), tmp_path)
    assert statistics == HalfStatistics(float(abs(value)), 1.0, 0, 13 * 9 * 37 // 3, False)
    assert made[0, 0, 0] == 2048


def test_2049_becomes_2048_and_the_tolerance_decides(tmp_path: Path) -> None:
    for dtype in ("<i2", ">f4", "<f8"):
        values = lay_out([0, 2049, 5], dtype)
        made, statistics = convert(values, tmp_path)
        assert (made[0, 0, 1], statistics.max_rounding_error) == (2048, 1.0)
        check_half(statistics, max_rounding_error=1.0)
        check_half(statistics, max_rounding_error=None)
        match = "float16 changes a voxel by 1; max_rounding_error allows 0.999"
        reject(values, tmp_path, Reason.PRECISION, match, tolerance=0.999)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_counted_first(
    dtype: str, value: float, tmp_path: Path
) -> None:
    stored = lay_out([1.0], dtype)
    stored[3, 4, 5] = stored[-1, -1, -1] = value
    reject(stored, tmp_path, Reason.NOT_FINITE, "2 voxels are not finite", tolerance=0.0)
    if dtype[2] != "2":
        stored[0, 0, 0], stored[1, 0, 0] = 70000.0, 2049.0
        _, statistics = convert(stored, tmp_path)
        assert statistics == HalfStatistics(70000.0, 1.0, 2, 1, False)
    stored[...] = value
    _, statistics = convert(stored, tmp_path)
    assert (statistics.largest, statistics.num_not_finite) == (0.0, stored.size)


@pytest.mark.parametrize("bits", [0x7F800001, 0xFF800001, 0x7FC00000, 0xFFFFFFFF])
def test_every_kind_of_nan_is_counted(bits: int, tmp_path: Path) -> None:
    stored = lay_out([1.0, 2.0], "<f4")
    stored.view(np.uint32)[2, 3, 4] = bits
    reject(stored, tmp_path, Reason.NOT_FINITE, "1 voxels are not finite")


@pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f4"])
def test_subnormals_and_ties_are_rounded_as_numpy_does(dtype: str, tmp_path: Path) -> None:
    least = 2.0**-24
    steps = np.arange(0, 2100)[:, None] * least
    near = np.array([0, 0.25, 0.5, 0.5 + 2**-12, 0.5 - 2**-12, 0.75]) * least
    assert_as_numpy(lay_out((steps + near).ravel(), dtype), tmp_path)
    assert_as_numpy(lay_out(-(steps + near).ravel(), dtype), tmp_path)
    tiny = np.finfo(dtype).tiny
    assert_as_numpy(lay_out([tiny, -tiny / 2, 1.0, -0.0], dtype), tmp_path)
    # Every float16 and the middles between them.
    halves = np.arange(0, 0x7BFF, dtype=np.uint16).view(np.float16).astype("f8")
    middles = (halves[1:] + halves[:-1]) / 2
    both = np.concatenate([halves, middles, -middles])
    assert_as_numpy(np.resize(both, (64, 40, 37)).astype(dtype), tmp_path)


def test_a_float64_is_rounded_once(tmp_path: Path) -> None:
    # By way of float32 it would be a tie, and go down to the even 1.
    value = 1 + 2.0**-11 + 2.0**-40
    made, statistics = convert(lay_out([value, 0.0], "<f8"), tmp_path)
    assert made[0, 0, 0] == np.float16(1 + 2.0**-10)
    assert statistics.max_rounding_error == 2.0**-11 - 2.0**-40


@pytest.mark.parametrize("dtype", ["<i2", "<f2", "<f4", "<f8"])
def test_a_volume_of_one_value_is_rejected(dtype: str, tmp_path: Path) -> None:
    for value in (-1000, 0, 3):
        values = lay_out([value], dtype)
        reject(values, tmp_path, Reason.CONSTANT_VOLUME, "all voxels are equal as float16")
        values[-1, -1, -1] += 1
        check_half(convert(values, tmp_path)[1], max_rounding_error=None)
    if dtype[1] == "f":
        assert convert(lay_out([0.0, -0.0], dtype), tmp_path)[1].is_constant
        assert not convert(lay_out([1.0, -1.0], dtype), tmp_path)[1].is_constant
    if dtype in ("<f4", "<f8"):
        values = lay_out([1.0, 1.00001], dtype)
        reject(values, tmp_path, Reason.CONSTANT_VOLUME, "equal as float16")


def test_a_difference_in_the_last_of_many_pieces_is_found(tmp_path: Path) -> None:
    values = np.full((70, 65, 101), 5, "<i2")
    assert values.size > 3 << 17
    for order in ORDERS:
        values[-1, -1, -1] = 5
        assert convert(values, tmp_path, order=order)[1].is_constant
        values[-1, -1, -1] = -2051
        made, statistics = convert(values, tmp_path, order=order)
        assert statistics == HalfStatistics(2051.0, 1.0, 0, 0, False)
        assert made[-1, -1, -1] == -2052


@pytest.mark.parametrize("order", ORDERS)
def test_scratch_is_reused(order: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((170, 165, 101), ">i2").copy(order))
    buffers, out = BufferPool(), np.empty((170, 165, 101), np.float16)
    free_bytes = []
    for _ in range(2):
        with open_npy_array(tmp_path / "volume.npy") as stream:
            convert_to_half(stream, out, buffers=buffers)
        free_bytes.append(buffers.free_bytes)
    assert free_bytes[0] == free_bytes[1] > 0
    assert order == "F" or free_bytes[0] < out.nbytes


@pytest.mark.parametrize("place", [200, 300_000])
@pytest.mark.parametrize("order", ORDERS)
def test_a_wrong_checksum_is_noticed(order: Any, place: int, tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 99, (70, 65, 101)).astype("<i2")
    path, out = tmp_path / "volume.npz", np.empty(values.shape, np.float16)
    np.savez(path, data=values.copy(order))
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    with (
        open_npz_array(path, "data") as stream,
        pytest.raises(SampleRejectedError, match="corrupt_npz: CRC-32"),
    ):
        convert_to_half(stream, out, buffers=BufferPool())


@pytest.mark.parametrize(
    "out",
    [
        np.empty((5, 7, 12), np.float16),
        np.empty((5, 7, 11), np.float32),
        np.empty((5, 7, 11), np.float16, order="F"),
    ],
)
def test_an_output_that_does_not_fit_is_refused(out: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "volume.npy", np.zeros((5, 7, 11)))
    with (
        open_npy_array(tmp_path / "volume.npy") as stream,
        pytest.raises(ValueError, match="out: expected C-contiguous float16"),
    ):
        convert_to_half(stream, out, buffers=BufferPool())

"""Lists of points against numpy; broken ones are named."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import WindowFileError
from medassets.loaders import CTWindowSparseSDF
from medassets.loaders.windows.point_lists import open_point_list
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    NO_CACHE,
    write_sparse,
)


def save_npz(path: Path, **arrays: object) -> None:
    np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]


BAD_LISTS: dict[str, Callable[[Path], object]] = {
    "other arrays": lambda path: save_npz(path, a=np.ones(3)),
    "too few values": lambda path: save_npz(path, indices=np.ones((9, 3), int), values=np.ones(8)),
    "two columns": lambda path: save_npz(path, indices=np.ones((9, 2), int), values=np.ones(9)),
    "fractions": lambda path: save_npz(path, indices=np.ones((9, 3)), values=np.ones(9)),
    "objects": lambda path: save_npz(
        path, indices=np.ones((9, 3), int), values=np.array([object()] * 9)
    ),
    "no zip": lambda path: path.write_bytes(b"PK but no archive" * 10),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-50]),
    "empty": lambda path: path.write_bytes(b""),
    "flipped": lambda path: path.write_bytes(_flip(path.read_bytes())),
    "negative": lambda path: save_npz(
        path, indices=np.full((999, 3), -2, np.int16), values=np.ones(999)
    ),
}


def _flip(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :]


@pytest.mark.parametrize("case", BAD_LISTS)
def test_a_broken_list_is_left_out_or_an_error_that_names_it(tmp_path: Path, case: str) -> None:
    write_sparse(tmp_path / "a" / "windows" / f"{LUNG}_sparse.npz", MASKS[0])
    broken = write_sparse(tmp_path / "b" / "windows" / f"{LUNG}_sparse.npz", MASKS[1])
    BAD_LISTS[case](broken)
    dataset = CTWindowSparseSDF(str(tmp_path), min_points=1)
    assert dataset.get_stats()["left_out"] == {"damaged": 1}
    lazy = CTWindowSparseSDF(str(tmp_path), min_points=1, max_points=100, **NO_CACHE)
    if len(lazy) == 2:
        with pytest.raises(ValueError, match="b/windows/lung"):
            lazy[1]
    else:
        assert str(broken) in lazy.left_out[0].detail


def test_a_list_that_claims_more_than_it_holds_asks_for_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "a" / "windows" / f"{LUNG}_sparse.npz"
    path.parent.mkdir(parents=True)
    head = b"{'descr': '<i2', 'fortran_order': False, 'shape': (900000000, 3), }"
    text = head.ljust(117) + b"\n"
    npy = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("indices.npy", npy + bytes(60))
        archive.writestr("values.npy", npy + bytes(60))
    dataset = CTWindowSparseSDF(str(tmp_path))
    assert "are not int16 of shape (900000000, 3)" in dataset.left_out[0].detail


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("names", [("indices", "values"), ("sparse_index", "sparse_sdf")])
@pytest.mark.parametrize("deflated", [True, False])
def test_points_are_those_that_numpy_reads(
    tmp_path: Path, order: Any, names: tuple[str, str], deflated: bool
) -> None:
    index = np.asarray(np.argwhere(MASKS[0]).astype(np.int16), order=order)
    values = np.linspace(-1, 1, len(index)).astype(np.float16)[:, None]
    save: Any = np.savez_compressed if deflated else np.savez
    save(tmp_path / "a.npz", **dict(zip(names, (index, values), strict=True)))
    points = open_point_list(tmp_path / "a.npz")
    picked = np.arange(1, len(index), 7)
    assert points.num_points == len(index)
    for source in (points, points.keep(sparse=True)):
        found = source.draw(lambda _: picked)
        np.testing.assert_array_equal(found.index, index[picked])
        np.testing.assert_array_equal(found.values, values[picked].astype(np.float32))


def test_a_kept_list_takes_no_more_than_announced(tmp_path: Path) -> None:
    points = open_point_list(write_sparse(tmp_path / "a.npz", MASKS[0]))
    kept = points.keep(sparse=False)
    assert kept.num_bytes == MASKS[0].sum() * 6 <= points.most_bytes
    assert kept.draw(np.arange).values is None


def test_a_list_that_was_replaced_since_it_was_opened_is_named(tmp_path: Path) -> None:
    points = open_point_list(write_sparse(tmp_path / "a.npz", MASKS[0]))
    write_sparse(tmp_path / "a.npz", MASKS[1])
    match = r"a\.npz: not a readable .*indices: the file changed since it was opened"
    with pytest.raises(WindowFileError, match=match):
        points.draw(np.arange)


def test_arrays_of_other_names_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", data=np.ones(3), indices=np.ones(3))
    match = r"expected arrays indices and values or .*, got data, indices"
    with pytest.raises(WindowFileError, match=match):
        open_point_list(tmp_path / "a.npz")

"""Dense masks against numpy; broken ones are named."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import WindowFileError
from medassets.loaders import CTWindowSparseSDF
from medassets.loaders.windows.dense_masks import open_dense_mask
from medassets.loaders.windows.points import PIECE_BYTES
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    NO_CACHE,
    write_case,
)
from medassets_tests.storage.formats.test_npy import BROKEN, wrap


def damage_truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_header(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def damage_text(path: Path) -> None:
    path.write_text("nothing of the kind")


def damage_objects(path: Path) -> None:
    np.save(path, np.array([[[object()]]], dtype=object), allow_pickle=True)


def damage_structured(path: Path) -> None:
    np.save(path, np.zeros((3, 3, 3), dtype=[("a", "u1"), ("b", "u1")]))


def damage_flat(path: Path) -> None:
    np.save(path, np.ones((40, 40), np.uint8))


def damage_complex(path: Path) -> None:
    np.save(path, np.ones((9, 9, 9), np.complex64))


def damage_claim(path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 99999, 99999), }"
    text = head.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def damage_negative(path: Path) -> None:
    head = b"{'descr': '|u1', 'fortran_order': False, 'shape': (-3, -3, 9), }"
    text = head.ljust(117) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(99))


DAMAGES = [
    damage_truncated,
    damage_empty,
    damage_header,
    damage_text,
    damage_objects,
    damage_structured,
    damage_flat,
    damage_complex,
    damage_claim,
    damage_negative,
]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("min_points", [0, 100])
def test_a_broken_mask_is_left_out_and_named(
    tmp_path: Path,
    damage: Callable[[Path], None],
    min_points: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_case(tmp_path, "a", MASKS[0])
    broken = write_case(tmp_path, "b", MASKS[1])
    damage(broken)
    dataset = CTWindowSparseSDF(str(tmp_path), min_points=min_points)
    assert [instance["case_id"] for instance in dataset.instances] == ["a"]
    (item,) = dataset.left_out
    assert (item.case_id, item.reason, item.path) == ("b", "damaged", str(broken))
    assert str(broken) in item.detail
    assert dataset.get_stats()["left_out"] == {"damaged": 1}
    assert "1 instances; 1 left out (damaged)" in caplog.text


def test_a_mask_that_shrinks_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_case(tmp_path, "a", MASKS[0])
    dataset = CTWindowSparseSDF(str(tmp_path), **NO_CACHE)
    damage_truncated(path)
    with pytest.raises(ValueError, match=rf"{LUNG}\.npy: ends before"):
        dataset[0]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_header_of_a_dense_mask_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lung.npy"
    path.write_bytes(wrap(text))
    with pytest.raises(WindowFileError, match=r"lung\.npy: not a readable \.npy file"):
        open_dense_mask(path)


def pick_every_third(num_points: int) -> np.ndarray:
    return np.arange(0, num_points, 3)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["?", "u1", "<i2", ">f4"])
@pytest.mark.parametrize("keep", ["none", "sparse", "voxels"])
def test_points_and_values_are_those_of_numpy(
    tmp_path: Path, order: Any, dtype: str, keep: str
) -> None:
    volume = np.random.default_rng(0).integers(0, 3, (9, 11, 13)).astype(dtype)
    np.save(tmp_path / "a.npy", np.asarray(volume, order=order))
    mask = open_dense_mask(tmp_path / "a.npy")
    source = mask if keep == "none" else mask.keep(sparse=keep == "sparse")
    points = source.draw(pick_every_third)
    flat = volume.T if order == "F" else volume
    expected = np.argwhere(flat)[::3]
    np.testing.assert_array_equal(points.index, expected[:, ::-1] if order == "F" else expected)
    if dtype == "?":
        assert points.values is None
    else:
        stored = flat[flat != 0][::3].astype(np.float32)
        np.testing.assert_array_equal(points.values, stored[:, None])


def test_counting_stops_after_the_piece_with_enough_points(tmp_path: Path) -> None:
    volume = np.ones((300, 100, 100), np.uint8)
    np.save(tmp_path / "a.npy", volume)
    mask = open_dense_mask(tmp_path / "a.npy")
    assert mask.count(1) == PIECE_BYTES
    assert mask.count(volume.size) == volume.size


def test_a_kept_mask_takes_no_more_than_announced(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", MASKS[0].astype(np.uint8))
    mask = open_dense_mask(tmp_path / "a.npy")
    kept = mask.keep(sparse=False)
    (tmp_path / "a.npy").unlink()
    assert kept.num_bytes == MASKS[0].size <= mask.most_bytes
    np.testing.assert_array_equal(kept.draw(np.arange).index, np.argwhere(MASKS[0]))
    with pytest.raises(WindowFileError, match=r"a\.npy: cannot be read any more \(No such file"):
        mask.draw(np.arange)

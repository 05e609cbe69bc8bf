"""Masks and lists that are damaged or too small: left out, or an error that names them."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError, WindowFileError
from medassets.loaders import CTWindowSparseSDF
from medassets.loaders.windows.dense_masks import open_dense_mask
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    NO_CACHE,
    sorted_points,
    write_case,
    write_shards,
    write_sparse,
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


def test_too_few_points_and_missing_files_are_counted_apart(tmp_path: Path) -> None:
    write_case(tmp_path, "a", MASKS[0])
    small = np.zeros((9, 9, 9), np.uint8)
    small[:2] = 1
    write_case(tmp_path, "b", small)
    write_sparse(tmp_path / "c" / "windows" / f"{LUNG}_sparse.npz", small)
    write_case(tmp_path, "d", MASKS[0], stem="bone_w1500_l300")
    dataset = CTWindowSparseSDF(str(tmp_path), min_points=163)
    assert dataset.get_stats()["left_out"] == {"missing_file": 1, "too_few_points": 2}
    assert len(CTWindowSparseSDF(str(tmp_path), min_points=162)) == 3
    details = {item.case_id: item.detail for item in dataset.left_out}
    assert details["b"] == details["c"] == "162 points, 163 wanted"


@pytest.mark.parametrize("facts", [True, False])
def test_samples_of_shards_with_too_few_points_are_left_out(tmp_path: Path, facts: bool) -> None:
    small = np.zeros_like(MASKS[0])
    small[0, 0, :5] = True
    masks = {"a": {"lung": small}, "b": {"lung": MASKS[0]}, "c": {"lung": MASKS[1]}}
    dataset = CTWindowSparseSDF(str(write_shards(tmp_path, masks, facts=facts)))
    assert [i["case_id"] for i in dataset.instances] == ["b", "c"]
    assert [i["num_points"] for i in dataset.instances] == [m.sum() for m in MASKS[:2]]
    assert dataset.left_out[0].detail == "5 points, 100 wanted"
    np.testing.assert_array_equal(sorted_points(dataset[1]["sparse_index"]), np.argwhere(MASKS[1]))


def test_a_mask_that_shrinks_later_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_case(tmp_path, "a", MASKS[0])
    dataset = CTWindowSparseSDF(str(tmp_path), **NO_CACHE)
    damage_truncated(path)
    with pytest.raises(ValueError, match=rf"{LUNG}\.npy: ends before"):
        dataset[0]


@pytest.mark.parametrize("compression", ["none", "auto"])
@pytest.mark.parametrize("suffix", ["lung.bits", "lung.rank", "json"])
def test_a_damaged_shard_is_an_error_that_names_sample_and_remedy(
    tmp_path: Path, compression: str, suffix: str
) -> None:
    masks = {"a": {"lung": MASKS[0]}, "b": {"lung": MASKS[1]}}
    manifest = write_shards(tmp_path, masks, compression=compression)
    path = tmp_path / "shard-000000.tar"
    record = json.loads(path.with_suffix(".json").read_text())
    (member,) = (m for m in record["samples"][1]["members"] if m["suffix"] == suffix)
    content = bytearray(path.read_bytes())
    content[member["offset"] + member["size_bytes"] // 2] ^= 16
    path.write_bytes(content)
    dataset = CTWindowSparseSDF(str(manifest), **NO_CACHE)
    dataset[0]
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.tar: b: .*medassets build tiny"):
        dataset[1]
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.tar: b: "):
        CTWindowSparseSDF(str(manifest))


def test_a_record_whose_facts_are_none_of_ours_is_named(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, {"a": {"lung": MASKS[0]}})
    record = tmp_path / "shard-000000.json"
    document = json.loads(record.read_text())
    document["samples"][0]["facts"] = {"windows": 3}
    record.write_text(json.dumps(document))
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.json: not a shard record"):
        CTWindowSparseSDF(str(manifest))


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_header_of_a_dense_mask_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lung.npy"
    path.write_bytes(wrap(text))
    with pytest.raises(WindowFileError, match=r"lung\.npy: not a readable \.npy file"):
        open_dense_mask(path)

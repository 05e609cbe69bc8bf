"""Sparse windows as a trainer sees them; `np.nonzero` says which points there are."""

import json
import logging
import pickle
import subprocess
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medassets.errors import ShardIntegrityError
from medassets.loaders import CTWindowSparseSDF, Loader
from medassets.loaders.window_dense import open_dense
from medassets.loaders.window_points import WindowFileError
from medassets_tests.loaders.window_data import (
    LUNG,
    make_mask,
    write_case,
    write_shards,
    write_sparse,
)
from medassets_tests.volumes.test_npy import BROKEN, wrap

NO_CACHE: dict[str, Any] = {"cache_data": False, "precompute_sparse": False}
CACHES: list[dict[str, Any]] = [
    NO_CACHE,
    {"cache_data": True, "precompute_sparse": True},
    {"cache_data": True, "precompute_sparse": False},
    {"cache_data": False, "precompute_sparse": True},
]
NUM_CASES = 5
MASKS = [make_mask(seed) for seed in range(NUM_CASES)]
FORMS = ("npy", "npy fortran", "npy int16", "npy bool", "sparse", "sdf", "raw", "zstd", "tars")


def write_form(folder: Path, form: str) -> str:
    """Write the masks in one form; return the roots."""
    if form in ("raw", "zstd", "tars"):
        return write_shard_form(folder, form)
    for number, mask in enumerate(MASKS):
        stem = folder / f"case_{number}" / "windows" / LUNG
        stem.parent.mkdir(parents=True)
        if form == "sparse":
            write_sparse(Path(f"{stem}_sparse.npz"), mask)
        elif form == "sdf":
            index = np.argwhere(mask).astype(np.int32)
            np.savez(f"{stem}.npz", sparse_index=index, sparse_sdf=np.ones((len(index), 1)))
        else:
            kinds = {"npy": np.uint8, "npy fortran": np.uint8, "npy int16": np.int16}
            order = "F" if form == "npy fortran" else "C"
            np.save(f"{stem}.npy", np.asarray(mask, kinds.get(form, np.bool_), order=order))
    return str(folder)


def write_shard_form(folder: Path, form: str) -> str:
    masks = {f"case_{number}": {"lung": mask} for number, mask in enumerate(MASKS)}
    compression = "none" if form == "raw" else "auto"
    manifest = write_shards(folder, masks, compression=compression)
    if form != "tars":
        return str(manifest)
    for path in folder.glob("*.json"):
        path.unlink()
    return str(folder / "shard-{000000..000002}.tar")


def sorted_points(index: torch.Tensor | np.ndarray) -> np.ndarray:
    array = np.asarray(index)
    return array[np.lexsort(array.T[::-1])]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cache", range(len(CACHES)))
def test_all_points_come_when_there_are_few_enough(tmp_path: Path, form: str, cache: int) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, form), **CACHES[cache])
    assert len(dataset) == NUM_CASES
    for _ in range(2):
        for number, mask in enumerate(MASKS):
            sample = dataset[number]
            assert sample["sparse_index"].dtype == torch.int64
            assert sample["sparse_sdf"].dtype == torch.float32
            assert sample["sparse_sdf"].shape == (mask.sum(), 1)
            assert (sample["sparse_sdf"] == 1).all()
            np.testing.assert_array_equal(sorted_points(sample["sparse_index"]), np.argwhere(mask))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cache", range(len(CACHES)))
def test_a_drawn_subset_is_seeded_by_epoch_and_index(tmp_path: Path, form: str, cache: int) -> None:
    roots = write_form(tmp_path, form)
    dataset = CTWindowSparseSDF(roots, max_points=200, **CACHES[cache])
    dataset.set_epoch(0)
    first = dataset[1]["sparse_index"]
    assert first.shape == (200, 3)
    assert MASKS[1][tuple(first.T)].all()
    assert len(np.unique(first, axis=0)) == 200
    np.testing.assert_array_equal(dataset[1]["sparse_index"], first)
    again = CTWindowSparseSDF(roots, max_points=200, **NO_CACHE)
    np.testing.assert_array_equal(again[1]["sparse_index"], first)
    dataset.set_epoch(1)
    second = dataset[1]["sparse_index"]
    assert not torch.equal(second, first)
    other = CTWindowSparseSDF(roots, max_points=200, seed=7, **NO_CACHE)
    assert not torch.equal(other[1]["sparse_index"], first)
    dataset.set_epoch(0)
    np.testing.assert_array_equal(dataset[1]["sparse_index"], first)


def test_arguments_and_defaults_are_those_of_existing_training_code(tmp_path: Path) -> None:
    write_form(tmp_path, "npy")
    dataset = CTWindowSparseSDF(str(tmp_path), 512, "lung", 100, 500000, True, True)
    plain = CTWindowSparseSDF(str(tmp_path))
    for name in ("resolution", "window_type", "min_points", "max_points", "cache_data"):
        assert getattr(plain, name) == getattr(dataset, name)
    assert dataset.value_range == (0, 1)
    assert dataset.roots == [str(tmp_path)]
    wanted = {
        "num_instances": NUM_CASES,
        "window_type": "lung",
        "resolution": 512,
        "min_points": 100,
        "max_points": 500000,
    }
    assert wanted.items() <= dataset.get_stats().items()
    assert dataset.window_filename == "lung_w1500_l-600.npy"
    assert str(dataset).splitlines() == [
        "CTWindowSparseSDF Dataset",
        "=" * 50,
        "Window Type: lung",
        "Resolution: 512",
        "Instances: 5",
        "Point Range: [100, 500000]",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 0.5), ("max_points", 0), ("resolution", 0), ("memory_share", 1.5)],
)
def test_settings_that_cannot_work_are_refused_at_once(name: str, value: Any) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        CTWindowSparseSDF("", **settings)


def test_an_epoch_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^epoch: expected an integer of 0 or more, got -1$"):
        CTWindowSparseSDF("").set_epoch(-1)


def test_values_that_are_not_1_come_with_their_points(tmp_path: Path) -> None:
    volume = np.where(MASKS[0], np.arange(MASKS[0].size).reshape(MASKS[0].shape) % 90 - 40, 0)
    write_case(tmp_path, "a", volume.astype(np.int16))
    write_case(tmp_path, "b", np.asfortranarray(volume.astype(np.float32) / 8))
    for options in CACHES:
        for max_points in (50, 500000):
            dataset = CTWindowSparseSDF(str(tmp_path), max_points=max_points, **options)
            for number, scale in enumerate((1, 8)):
                sample = dataset[number]
                expected = volume[tuple(sample["sparse_index"].T)] / scale
                np.testing.assert_array_equal(sample["sparse_sdf"][:, 0], expected)
                assert len(expected) == min(max_points, np.count_nonzero(volume))


@pytest.mark.parametrize("order", ["C", "F"])
def test_distances_of_a_later_version_are_read_before_the_mask(tmp_path: Path, order: str) -> None:
    path = write_case(tmp_path, "a", MASKS[0])
    index = np.asarray(np.argwhere(MASKS[1]).astype(np.int32), order=order)  # pyright: ignore[reportCallIssue, reportArgumentType]
    distances = np.random.default_rng(0).normal(size=(len(index), 1)).astype(np.float32)
    np.savez(path.with_suffix(".npz"), sparse_index=index, sparse_sdf=distances, resolution=512)
    by_point: dict[tuple[int, ...], float] = {
        tuple(p): d for p, d in zip(index.tolist(), distances[:, 0].tolist(), strict=True)
    }
    for options in CACHES:
        for max_points in (77, 500000):
            sample = CTWindowSparseSDF(str(tmp_path), max_points=max_points, **options)[0]
            assert len(sample["sparse_index"]) == min(max_points, len(index))
            got = [by_point[tuple(point)] for point in sample["sparse_index"].tolist()]
            np.testing.assert_array_equal(sample["sparse_sdf"][:, 0], np.array(got, np.float32))


def test_over_many_epochs_every_point_and_pair_is_equally_likely(tmp_path: Path) -> None:
    mask = np.zeros((9, 7, 8), np.bool_)
    mask[2:5, 3:5, ::4] = True
    masks = {"a": {"lung": mask}}
    dataset = CTWindowSparseSDF(
        str(write_shards(tmp_path, masks)), min_points=1, max_points=5, cache_data=False
    )
    points = {tuple(point): n for n, point in enumerate(np.argwhere(mask).tolist())}
    num_epochs, num_points = 6000, len(points)
    drawn = np.zeros((num_epochs, num_points), np.int64)
    for epoch in range(num_epochs):
        dataset.set_epoch(epoch)
        drawn[epoch, [points[tuple(p)] for p in dataset[0]["sparse_index"].tolist()]] = 1
    assert (drawn.sum(axis=1) == 5).all()
    expected = num_epochs * 5 / num_points
    chi = ((drawn.sum(axis=0) - expected) ** 2).sum() / (expected * (1 - 5 / num_points))
    assert chi * (num_points - 1) / num_points < 31.3  # 99.9 % of chi-square, 11 degrees
    together = (drawn.T @ drawn)[np.triu_indices(num_points, 1)]
    share = 5 * 4 / (num_points * (num_points - 1))
    deviation = np.sqrt(num_epochs * share * (1 - share))
    assert np.abs(together - num_epochs * share).max() < 4.5 * deviation


# Discovery.


def test_tables_processed_folders_and_plain_folders_are_found(tmp_path: Path) -> None:
    for dataset in ("x/one", "x/deep/two"):
        write_case(tmp_path / dataset / "processed", "case_001", MASKS[0])
        (tmp_path / dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    write_case(tmp_path / "x/unlisted/processed", "case_009", MASKS[0])
    write_case(tmp_path / "y/processed", "case_002", MASKS[0])
    write_case(tmp_path / "z", "case_003", MASKS[0])
    (tmp_path / "z" / "notes.txt").write_text("not a case")
    roots = f"{tmp_path}/x, {tmp_path}/y/processed/,{tmp_path}/z"
    dataset = CTWindowSparseSDF(roots)
    found = [(Path(i["dataset_root"]).name, i["case_id"]) for i in dataset.instances]
    assert found == [
        ("two", "case_001"),
        ("one", "case_001"),
        ("y", "case_002"),
        ("z", "case_003"),
    ]
    first = dataset.instances[0]
    assert first["case_dir"] == str(tmp_path / "x/deep/two/processed/case_001")
    assert first["window_path"] == f"{first['case_dir']}/windows/{LUNG}.npy"
    assert dataset.metadata == {"case_001": {"case_id": "case_001", "age": 61}}


@pytest.mark.parametrize("where", ["processed", "nested", "cases"])
@pytest.mark.parametrize("stray", ["backup.tar", "manifest.json"])
def test_files_beside_cases_make_no_shards_of_a_folder(
    tmp_path: Path, where: str, stray: str
) -> None:
    top = {"processed": "processed", "nested": "ds/processed", "cases": "."}[where]
    write_case(tmp_path / top, "a", MASKS[0])
    if where == "nested":
        (tmp_path / "ds/metadata.csv").write_text("case_id\na\n")
    (tmp_path / stray).write_text('{"name": "of something else"}')
    assert [i["case_id"] for i in CTWindowSparseSDF(str(tmp_path)).instances] == ["a"]


def test_a_dataset_inside_a_folder_named_processed_is_found(tmp_path: Path) -> None:
    dataset = tmp_path / "root/processed/ds"
    write_case(dataset / "processed", "case_001", MASKS[0])
    (dataset / "metadata.csv").write_text("case_id,age\ncase_001,61\n")
    found = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["dataset_root"] for i in found.instances] == [str(dataset)]
    assert (found.metadata["case_001"]["age"], found.left_out) == (61, ())
    write_case(tmp_path / "root/processed", "case_002", MASKS[1])
    (tmp_path / "root/metadata.csv").write_text("case_id\ncase_002\n")
    both = CTWindowSparseSDF(str(tmp_path / "root"))
    assert [i["case_id"] for i in both.instances] == ["case_002", "case_001"]
    assert both.left_out == ()


@pytest.mark.parametrize("named", [".", "windows"])
def test_a_dataset_of_shards_asks_for_one_of_its_splits(tmp_path: Path, named: str) -> None:
    for split in ("train", "valid"):
        write_shards(tmp_path / "my_windows/windows" / split, {"a": {"lung": MASKS[0]}})
    with pytest.raises(ValueError, match=r"one split: .*/windows/train, .*/windows/valid$"):
        CTWindowSparseSDF(str(tmp_path / "my_windows" / named))
    split = CTWindowSparseSDF(str(tmp_path / "my_windows/windows/train"))
    assert len(split) == 1


def test_cases_named_by_numbers_keep_their_zeros(tmp_path: Path) -> None:
    write_case(tmp_path / "processed", "007", MASKS[0])
    (tmp_path / "metadata.csv").write_text("case_id,age\n007,33\n007,44\n")
    assert CTWindowSparseSDF(str(tmp_path)).metadata == {"007": {"case_id": "007", "age": 33}}


@pytest.mark.parametrize("table", [b"", b"\xff\xfe\x00broken", b"age\n3\n", b'case_id\n"open'])
def test_a_table_that_cannot_be_used_costs_no_case(tmp_path: Path, table: bytes) -> None:
    write_case(tmp_path / "processed", "a", MASKS[0])
    (tmp_path / "metadata.csv").write_bytes(table)
    dataset = CTWindowSparseSDF(str(tmp_path))
    assert (len(dataset), dataset.metadata) == (1, {})


def test_folders_that_link_in_a_circle_end(tmp_path: Path) -> None:
    write_case(tmp_path / "a/processed", "a", MASKS[0])
    (tmp_path / "a/metadata.csv").write_text("case_id\na\n")
    (tmp_path / "a/loop").symlink_to(tmp_path)
    assert len(CTWindowSparseSDF(str(tmp_path))) == 1


def test_roots_of_all_kinds_are_mixed(tmp_path: Path) -> None:
    write_form(tmp_path / "old", "npy")
    manifest = write_form(tmp_path / "shards", "zstd")
    write_form(tmp_path / "tars", "tars")
    roots = (
        f"{tmp_path}/old,{manifest},{tmp_path}/shards,"
        f"{tmp_path}/tars/shard-{{000000,000002}}.tar,{tmp_path}/tars/shard-*1.tar"
    )
    dataset = CTWindowSparseSDF(roots, max_points=100)
    assert len(dataset) == 4 * NUM_CASES
    keys = [instance["case_id"] for instance in dataset.instances]
    assert keys[:15] == [f"case_{n}" for n in range(5)] * 3
    assert keys[15:] == ["case_0", "case_1", "case_4", "case_2", "case_3"]
    for number, key in enumerate(keys):
        assert MASKS[int(key[-1])][tuple(dataset[number]["sparse_index"].T)].all()


def test_a_missing_root_is_logged_and_an_empty_dataset_is_empty(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = CTWindowSparseSDF(f"{tmp_path}/nowhere,{tmp_path}")
    assert len(dataset) == 0
    assert f"{tmp_path}/nowhere: no such folder" in caplog.text
    with pytest.raises(IndexError, match="instance 0 of 0"):
        dataset[0]


def test_an_unknown_window_is_an_error_that_lists_those_there_are(tmp_path: Path) -> None:
    write_case(tmp_path / "old", "a", MASKS[0], stem="vessel_w600_l150")
    manifest = write_shards(tmp_path / "shards", {"a": {"fat": MASKS[0], "lung": MASKS[1]}})
    with pytest.raises(ValueError, match=r"Invalid window_type: limb\. Available: lung, bone, "):
        CTWindowSparseSDF(str(tmp_path / "old"), window_type="limb")
    with pytest.raises(ValueError, match=r"brain, vessel$"):
        CTWindowSparseSDF(str(tmp_path / "old"), window_type="limb")
    with pytest.raises(ValueError, match=r"bone\. Available: fat, lung$"):
        CTWindowSparseSDF(str(manifest), window_type="bone")


def test_a_window_of_ones_own_without_large_instances_is_no_unknown_one(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, {"a": {"vessel": MASKS[0]}, "b": {"vessel": MASKS[1]}})
    dataset = CTWindowSparseSDF(str(manifest), window_type="vessel", min_points=10**6)
    assert (len(dataset), dataset.get_stats()["left_out"]) == (0, {"too_few_points": 2})


def test_windows_of_ones_own_are_read(tmp_path: Path) -> None:
    write_case(tmp_path / "old", "a", MASKS[0], stem="vessel_w600_l150.5")
    write_case(tmp_path / "old", "b", MASKS[1], stem="vessel_wall_w600_l150")
    manifest = write_shards(tmp_path / "shards", {"c": {"vessel": MASKS[2], "lung": MASKS[1]}})
    dataset = CTWindowSparseSDF(f"{tmp_path}/old,{manifest}", window_type="vessel")
    assert [instance["case_id"] for instance in dataset.instances] == ["a", "c"]
    np.testing.assert_array_equal(sorted_points(dataset[1]["sparse_index"]), np.argwhere(MASKS[2]))


# What is left out.


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
    assert "are not an array int16 (900000000, 3)" in dataset.left_out[0].detail


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


# Workers.


def make_loader(dataset: CTWindowSparseSDF, **options: object) -> DataLoader[object]:
    return DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn, **options)  # pyright: ignore[reportArgumentType, reportReturnType]


@pytest.mark.parametrize("form", ["npy", "zstd"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(tmp_path: Path, form: str, method: str) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, form), max_points=150)
    loader = make_loader(
        dataset, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    for epoch in (0, 1, 2):
        dataset.set_epoch(epoch)
        expected = list(make_loader(dataset))
        got = list(loader)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_our_own_loader_gives_what_the_dataset_gives(tmp_path: Path, workers: Any) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "zstd"), max_points=150, **NO_CACHE)
    loader = Loader(dataset, batch_size=2, num_workers=2, workers=workers)
    for epoch in range(3):
        got = list(loader)
        dataset.set_epoch(epoch)
        expected = list(make_loader(dataset))
        assert len(got) == len(expected) == 3
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one["sparse_index"], other["sparse_index"])
            assert torch.equal(one["batch_idx"], other["batch_idx"])


def test_a_worker_that_sets_its_own_epoch_does_not_disturb_the_others(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "npy"), max_points=150)

    def start(worker: int) -> None:
        dataset.set_epoch(3 + worker)

    got = list(make_loader(dataset, num_workers=2, worker_init_fn=start))
    assert dataset.epoch == 0
    # Two workers take batches in turn.
    for first, epoch, batch in zip((0, 2, 4), (3, 4, 3), got, strict=True):
        dataset.set_epoch(epoch)
        points = batch["sparse_index"][batch["batch_idx"] == 0]
        assert torch.equal(points, dataset[first]["sparse_index"])


def test_a_copy_made_by_pickle_is_small_and_draws_the_same(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "zstd"), max_points=150)
    dataset.set_epoch(4)
    content = pickle.dumps(dataset)
    assert len(content) < 20_000
    assert torch.equal(pickle.loads(content)[3]["sparse_index"], dataset[3]["sparse_index"])


def test_a_batch_is_its_samples_one_after_the_other(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "npy"), max_points=3000)
    samples = [dataset[number] for number in range(NUM_CASES)]
    batch = dataset.collate_fn(samples)
    for name in ("sparse_sdf", "sparse_index"):
        expected = np.concatenate([sample[name].numpy() for sample in samples])
        np.testing.assert_array_equal(batch[name], expected)
        assert batch[name].dtype == samples[0][name].dtype
    lengths = [len(sample["sparse_sdf"]) for sample in samples]
    np.testing.assert_array_equal(batch["batch_idx"], np.repeat(np.arange(NUM_CASES), lengths))
    assert batch["batch_idx"].dtype == torch.int64


# Memory.


def test_what_is_kept_never_takes_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = write_form(tmp_path, "npy")
    assert CTWindowSparseSDF(roots).get_stats()["num_kept"] == NUM_CASES
    assert CTWindowSparseSDF(roots, memory_share=0.0).get_stats()["num_kept"] == 0
    left = iter(range(10**6, 0, -(10**5)))
    monkeypatch.setattr("medassets.loaders.windows.read_available_bytes", lambda: next(left))
    monkeypatch.setattr("medassets.loaders.windows.os.cpu_count", lambda: 1)
    dataset = CTWindowSparseSDF(roots, memory_share=0.35)
    assert dataset.get_stats()["num_kept"] == 3


@pytest.mark.parametrize(("form", "kept"), [("npy", 0), ("raw", 0), ("zstd", 0), ("sparse", 1)])
def test_of_many_instances_only_lists_are_kept_and_only_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, kept: int
) -> None:
    monkeypatch.setattr("medassets.loaders.windows.MOST_PRELOADED", NUM_CASES - 1)
    dataset = CTWindowSparseSDF(write_form(tmp_path, form))
    assert dataset.get_stats()["num_kept"] == 0
    dataset[2]
    assert dataset.get_stats()["num_kept"] == kept


# Epochs that nobody sets.


@pytest.mark.parametrize("num_workers", [0, 2])
def test_points_that_come_again_because_no_epoch_is_set_are_warned_of_once(
    tmp_path: Path, num_workers: int
) -> None:
    roots = write_form(tmp_path, "raw")
    code = f"""
from medassets.loaders import CTWindowSparseSDF
from torch.utils.data import DataLoader
dataset = CTWindowSparseSDF({roots!r}, max_points=100)
loader = DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn, num_workers={num_workers})
list(loader)
print("first", flush=True)
assert not dataset._drawn[-1]
list(loader)
list(loader)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("call set_epoch(epoch) before each epoch") == 1


def test_no_warning_comes_where_epochs_are_set_or_nothing_is_drawn(tmp_path: Path) -> None:
    roots = write_form(tmp_path, "raw")
    dataset = CTWindowSparseSDF(roots, max_points=100)
    dataset.set_epoch(0)
    whole = CTWindowSparseSDF(roots)
    loader = Loader(CTWindowSparseSDF(roots, max_points=100), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert torch.equal(dataset[0]["sparse_index"], dataset[0]["sparse_index"])
            assert torch.equal(whole[0]["sparse_index"], whole[0]["sparse_index"])
            list(loader)


# The state of a loader.


@pytest.mark.parametrize("form", ["npy", "zstd"])
def test_a_loader_does_not_go_on_with_other_points(tmp_path: Path, form: str) -> None:
    def make(folder: str, **options: Any) -> Loader:
        settings: dict[str, Any] = {"max_points": 100, **options}
        return Loader(CTWindowSparseSDF(folder, **settings), batch_size=2)

    roots = write_form(tmp_path / "a", form)
    state = make(roots).state_dict()
    make(write_form(tmp_path / "copy", form)).load_state_dict(state)
    for options in ({"seed": 1}, {"max_points": 99}):
        with pytest.raises(ValueError, match="samples_digest"):
            make(roots, **options).load_state_dict(state)


def test_the_files_of_a_dataset_are_listed_once(tmp_path: Path) -> None:
    roots = f"{write_form(tmp_path / 'old', 'npy')},{write_form(tmp_path / 'new', 'zstd')}"
    paths = CTWindowSparseSDF(roots).index.paths
    assert [Path(path).name for path in paths] == [f"{LUNG}.npy"] * 5 + [
        f"shard-{number:06d}.tar" for number in range(3)
    ]


@pytest.mark.parametrize("form", ["npy", "raw", "zstd"])
def test_a_large_mask_needs_little_memory(tmp_path: Path, form: str) -> None:
    mask = np.zeros((512, 512, 256), np.bool_)
    mask[100:400, 50:450, 20:230] = True
    if form == "npy":
        write_case(tmp_path, "a", mask)
        roots = str(tmp_path)
    else:
        compression = "none" if form == "raw" else "auto"
        roots = str(write_shards(tmp_path, {"a": {"lung": mask}}, compression=compression))
    code = f"""
import re
from pathlib import Path
from medassets.loaders.windows import CTWindowSparseSDF
from medassets.volumes.occupancy import pack_mask
import numpy as np
pack_mask(np.ones((64, 64, 64), bool)).sample(1000, np.random.default_rng(0))
def read(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = read("VmRSS")
dataset = CTWindowSparseSDF({roots!r}, max_points=100000, cache_data=False, precompute_sparse=False)
for epoch in range(3):
    dataset.set_epoch(epoch)
    assert dataset[0]["sparse_index"].shape == (100000, 3)
print(read("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60


def test_no_warning_is_logged_of_a_whole_dataset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        CTWindowSparseSDF(write_form(tmp_path, "npy"))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.messages == ["lung: 5 instances; 5 kept in memory"]


# Pictures.


def draw_slowly(samples: list[dict[str, torch.Tensor]], resolution: int) -> np.ndarray:
    """Draw one picture per sample, point by point."""
    pictures = np.zeros((len(samples), 1, 384, 512), np.float32)
    for sample, picture in zip(samples, pictures, strict=True):
        for (i, j, k), value in zip(
            sample["sparse_index"].tolist(), sample["sparse_sdf"][:, 0].tolist(), strict=True
        ):
            a, b, c = (min(int(n / (resolution / 128)), 127) for n in (i, j, k))
            for column, at in enumerate((32, 53, 74, 96)):
                for row, (across, x, y) in enumerate(((c, a, b), (a, b, c), (b, a, c))):
                    if across == at:
                        spot = (0, row * 128 + x, column * 128 + y)
                        picture[spot] = max(picture[spot], value)
    return pictures


@pytest.mark.parametrize("resolution", [128, 512, 600])
def test_pictures_show_four_slices_along_each_axis(resolution: int) -> None:
    rng = np.random.default_rng(0)
    samples = [
        {
            "sparse_index": torch.from_numpy(rng.integers(0, resolution, (4000, 3))),
            "sparse_sdf": torch.from_numpy(rng.normal(size=(4000, 1)).astype(np.float32)),
        }
        for _ in range(3)
    ]
    dataset = CTWindowSparseSDF("", resolution=resolution)
    got = dataset.visualize_sample(dataset.collate_fn(samples))
    assert got.dtype == torch.float32
    np.testing.assert_array_equal(got, draw_slowly(samples, resolution))


def test_a_batch_without_points_is_one_empty_picture() -> None:
    dataset = CTWindowSparseSDF("")
    empty = {"sparse_sdf": torch.zeros(0, 1), "sparse_index": torch.zeros(0, 3, dtype=torch.int64)}
    batch = dataset.collate_fn([empty])
    picture = dataset.visualize_sample(batch)
    assert picture.shape == (1, 1, 384, 512)
    assert not picture.any()


def test_the_loaders_import_no_dagster() -> None:
    code = "import sys, medassets.loaders.windows; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_header_of_a_dense_mask_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "lung.npy"
    path.write_bytes(wrap(text))
    with pytest.raises(WindowFileError, match=r"lung\.npy: not a readable \.npy file"):
        open_dense(path)

"""Trees of `.npz` files: what is listed, which depth counts, and when headers are read."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from medassets.errors import CatalogError, Reason
from medassets.volumes.catalog.npz_tree import (
    TREES_KEY,
    NpzFile,
    choose_depth,
    describe_tree,
    list_tree,
    name_study,
    read_headers,
    read_trees,
)


def write(top: Path, *paths: str) -> None:
    for number, path in enumerate(paths):
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        np.savez(top / path, data=np.zeros((5, 7, 11 + number), np.int16))


def make_file(depth: int, problem: bool = False) -> NpzFile:
    found = (Reason.BAD_NAME, "odd") if problem else None
    return NpzFile("a.npz", "a", depth, num_bytes=1, mtime_ns=1, problem=found)


@pytest.mark.parametrize("ending", ["", ".npz", ".nii.npz", ".nii.gz.npz", ".nii.gz", ".nii"])
def test_a_study_is_named_without_endings(ending: str) -> None:
    assert name_study(f"study.7{ending}") == "study.7"


def test_files_are_listed_in_order_with_depth_and_size(tmp_path: Path) -> None:
    write(tmp_path, "t/b/1.npz", "t/a.npz", "t/c/d/2.npz", "elsewhere.npz")
    (tmp_path / "t" / "notes.txt").write_text("no array")
    files = list_tree(tmp_path, "t")
    assert [(f.path, f.study_id, f.depth) for f in files] == [
        ("t/a.npz", "a", 1),
        ("t/b/1.npz", "1", 2),
        ("t/c/d/2.npz", "2", 3),
    ]
    stat = (tmp_path / "t" / "a.npz").stat()
    assert (files[0].num_bytes, files[0].mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    assert len(list_tree(tmp_path, "")) == 4


def test_hidden_files_and_links_that_lead_nowhere_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a.npz", ".hidden.npz", ".git/b.npz")
    (tmp_path / "gone.npz").symlink_to(tmp_path / "nothing")
    assert [file.path for file in list_tree(tmp_path, "")] == ["a.npz"]


def test_what_must_not_be_opened_has_its_reason(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / os.fsdecode(b"\xff.npz")).write_bytes(b"")
    problems = {file.path: file.problem for file in list_tree(tmp_path, "")}
    assert problems["pipe.npz"] == (Reason.UNREADABLE_SOURCE, "pipe.npz: not a regular file")
    (other,) = [problem for path, problem in problems.items() if path != "pipe.npz"]
    assert other is not None
    assert other[0] is Reason.BAD_NAME


def test_a_tree_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"t: no such folder; `folder` and `volumes_dir` name"):
        list_tree(tmp_path, "t")


@pytest.mark.parametrize(
    ("depths", "expected"),
    [([], 1), ([1, 2, 2], 2), ([1, 2], 2), ([1, 1, 3], 1), ([4, 4, 4, 2], 2), ([4], 1)],
)
def test_the_depth_with_the_most_files_counts_and_of_equals_the_deeper(
    depths: list[int], expected: int
) -> None:
    assert choose_depth([make_file(depth) for depth in depths]) == expected


def test_files_with_a_problem_choose_no_depth() -> None:
    assert choose_depth([make_file(1), make_file(2, True), make_file(2, True)]) == 1


def test_a_catalog_says_what_was_found_at_which_depth() -> None:
    described = describe_tree([make_file(depth) for depth in (2, 1, 2)], 2)
    assert described == {"depth": 2, "files_by_depth": {"1": 1, "2": 2}}
    table = pa.table({"key": ["a"]}).replace_schema_metadata({TREES_KEY: b'{"train":{"depth":2}}'})
    assert read_trees(table) == {"train": {"depth": 2}}
    assert read_trees(pa.table({"key": ["a"]})) == {}
    assert read_trees(None) == {}


def test_headers_give_shape_and_dtype_where_they_can_be_read(tmp_path: Path) -> None:
    write(tmp_path, "a.npz", "b.npz")
    (tmp_path / "c.npz").write_bytes(b"no zip at all")
    files = list_tree(tmp_path, "")
    files[1] = replace(files[1], problem=(Reason.BAD_NAME, "odd"))
    read = read_headers(files, tmp_path, "data", {})
    assert [(file.shape, file.dtype) for file in read] == [
        ((5, 7, 11), "int16"),
        (None, None),
        (None, None),
    ]
    assert read_headers(files, tmp_path, "other", {})[0].shape is None


def test_a_header_is_taken_over_only_while_size_and_time_are_the_same(tmp_path: Path) -> None:
    write(tmp_path, "a.npz", "b.npz")
    files = list_tree(tmp_path, "")
    known = {file.path: replace(file, shape=(1, 2, 3), dtype="int8") for file in files}
    known["b.npz"] = replace(known["b.npz"], mtime_ns=1)
    read = read_headers(files, tmp_path, "data", known)
    assert [(f.shape, f.dtype) for f in read] == [((1, 2, 3), "int8"), ((5, 7, 12), "int16")]

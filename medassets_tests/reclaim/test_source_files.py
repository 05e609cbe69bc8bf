"""The source files of a shard's samples, and how they are known to have changed."""

import os
from pathlib import Path
from typing import Any

import pytest

from medassets.reclaim.source_files import FileStat, SourceFile, find_source_files, size_of
from medassets.samples import SourceItem
from medassets_tests.reclaim.reclaiming import KEYS, Made


def make_file(*, is_single: bool, **row: Any) -> SourceFile:
    item = SourceItem("a", "train", "a.npz", None, row)
    return SourceFile("a.npz", (item,), ("train-000000",), num_unplanned=0, is_single=is_single)


def test_facts_of_a_file_are_those_of_the_system(tmp_path: Path) -> None:
    place = tmp_path / "a.npz"
    place.write_bytes(b"x" * 77)
    found = place.stat()
    expected = FileStat(77, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
    assert FileStat.of(found) == expected
    os.utime(place, ns=(1, found.st_mtime_ns))
    assert FileStat.of(place.stat()).mtime_ns == expected.mtime_ns


def test_the_size_of_a_file_that_is_not_there_is_zero(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 5)
    assert (size_of(tmp_path / "a"), size_of(tmp_path / "b")) == (5, 0)


@pytest.mark.parametrize(
    ("row", "is_single", "change"),
    [
        ({"mtime_ns": 7, "num_bytes": 5}, True, ""),
        ({"mtime_ns": 8, "num_bytes": 5}, True, "another time"),
        ({"mtime_ns": None, "num_bytes": 5}, True, "another time"),
        ({"num_bytes": 5}, True, "another time"),
        ({"mtime_ns": 7, "num_bytes": 11}, True, "another size"),
        # Of a tar the catalog states the size of one sample only.
        ({"mtime_ns": 7, "num_bytes": 11}, False, ""),
    ],
)
def test_a_change_is_seen_by_time_and_size(
    row: dict[str, Any], is_single: bool, change: str
) -> None:
    file = make_file(is_single=is_single, **row)
    found = file.find_change(FileStat(num_bytes=5, mtime_ns=7, ctime_ns=9, inode=1))
    assert (change in found) if change else (found == "")


def test_every_file_belongs_to_one_shard_with_all_its_samples(made: Made) -> None:
    workspace = made.open()
    paths: list[str] = []
    for key in KEYS:
        files = find_source_files(workspace, key)
        assert {item.key for file in files for item in file.items} == set(made.studies(key))
        assert all(file.partitions == (key,) for file in files)
        assert all(file.is_single and file.is_planned for file in files)
        paths += [file.path for file in files]
    assert sorted(paths) == sorted(made.tree.paths.values())

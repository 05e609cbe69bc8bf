"""One export of any format: what it examines, lists and refuses, whatever a sample holds."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medassets.errors import CatalogError, DiskSpaceError, UsageError
from medassets.exports.formats import ExportResult
from medassets.storage import disk
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import TRAIN, VAL, export, make_shard, read_tree


def test_two_exports_at_once_do_the_work_once(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", TRAIN)
    make_shard(paths, "val-000000", VAL)
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(lambda _: export(paths, out), range(2)))
    assert sorted((one.written, one.kept) for one in both) == [(0, 5), (5, 0)]


def test_one_split_leaves_the_others_listed(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", TRAIN)
    make_shard(paths, "val-000000", VAL)
    assert export(paths, out, splits=("val",)).listed == {"val": 2}
    assert export(paths, out, splits=("train",)).listed == {"train": 3, "val": 2}
    shutil.rmtree(out / "sample_000000_def")
    third = export(paths, out, splits=("train",))
    assert third.listed == {"train": 3, "val": 1}
    assert "sample_000000_def: no longer whole; export val-000000 again" in third.problems[0]


def test_a_sample_that_left_the_dataset_is_not_listed(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    # A build does not replace a tar by one that lacks its samples; a user moved it away.
    paths.shard("train-000000").unlink()
    paths.record("train-000000").unlink()
    make_shard(paths, "train-000000", TRAIN[1:])
    again = export(paths, out)
    assert (again.retired, again.listed) == (1, {"train": 2, "val": 2})
    assert (out / "sample_000000_abc").is_dir()
    assert export(paths, out, ["train-000000"]).retired == 3


def test_shards_that_are_not_made_yet_are_named(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    paths.shard("val-000000").unlink()
    again = export(paths, out, ["train-000000", "train-000001", "val-000000"])
    assert again.absent == ["train-000001", "val-000000"]
    # They were exported whole, and belong to the dataset as before.
    assert again.listed == {"train": 3, "val": 2}


def test_an_empty_dataset_is_an_error(paths: DatasetPaths, out: Path) -> None:
    with pytest.raises(CatalogError, match="tiny: no shard of stage frames exists yet"):
        export(paths, out)


def test_the_folder_of_another_dataset_is_refused(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    before = read_tree(out)
    other = DatasetPaths(paths.root, "other", "frames")
    make_shard(other, "train-000000", TRAIN)
    with pytest.raises(UsageError, match="holds an export as clip4mc of tiny"):
        export(other, out)
    assert read_tree(out) == before


def test_a_target_that_is_no_folder_is_refused(
    exported: ExportResult, paths: DatasetPaths, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        UsageError, match=r"--out: cannot write to the folder .*/file/in: Not a dir"
    ):
        export(paths, tmp_path / "file" / "in")


def test_too_little_disk_is_said_before_anything_is_written(
    paths: DatasetPaths, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_shard(paths, "train-000000", TRAIN)
    monkeypatch.setattr(disk, "free_bytes", lambda _: 100)
    with pytest.raises(DiskSpaceError, match=r"the export of 3 samples needs [0-9,]+ bytes"):
        export(paths, out, ["train-000000"])
    assert not list(out.glob("sample_*"))


def test_a_journal_cut_short_goes_on_and_a_damaged_one_is_named(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    before, journal = read_tree(out), out / "export_journal.jsonl"
    content = journal.read_bytes()
    *lines, cut, _, _ = content.splitlines(keepends=True)
    # The last two samples are on the disk, and the journal does not know of them.
    journal.write_bytes(b"".join(lines) + cut[:30])
    (out / "dataset_info.json").unlink()
    again = export(paths, out)
    assert (again.written, again.kept) == (2, 3)
    assert read_tree(out) == before
    journal.write_bytes(content.replace(b"abc_0_1000", b"abd_0_1000", 1))
    with pytest.raises(CatalogError, match=r"export_journal.jsonl: line 3 is damaged"):
        export(paths, out)

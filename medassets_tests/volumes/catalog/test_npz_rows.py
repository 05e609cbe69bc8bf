"""NPZ trees: which depth counts, how files and tables are joined, and what either lacks."""

import csv
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from medassets.errors import CatalogError
from medassets.shards.catalog.planning import plan_catalog
from medassets.specs import VolumeDatasetSpec
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets.volumes.catalog.columns import ARRAY_ROW_SCHEMA
from medassets.volumes.catalog.npz_rows import read_npz_rows
from medassets.volumes.catalog.npz_tree import read_trees

Read = Callable[..., pa.Table]


@pytest.fixture
def tree(tmp_path: Path) -> SyntheticTree:
    return make_npz_tree(tmp_path / "source", num_volumes=4, shape=(5, 6, 7))


@pytest.fixture
def read(tree: SyntheticTree) -> Read:
    """Return a function that reads the rows of the tree."""

    def read_it(previous: pa.Table | None = None, **changes: Any) -> pa.Table:
        spec = VolumeDatasetSpec(name="tiny", **tree.fields(**changes))
        return read_npz_rows(spec, tree.folder, previous)

    return read_it


def rows_of(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in table.to_pylist()}


def reasons(table: pa.Table) -> Counter[str | None]:
    return Counter(table["excluded"].to_pylist())


def edit(tree: SyntheticTree, table: str, change: Callable[[list[dict[str, str]]], object]) -> None:
    """Change the rows of one of the tree's tables."""
    path = tree.folder / tree.fields()[table]
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        rows, names = list(reader), list(reader.fieldnames or [])
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def test_a_file_and_its_rows_become_one_row(tree: SyntheticTree, read: Read) -> None:
    table = read()
    assert table.schema.names == ARRAY_ROW_SCHEMA.names
    assert reasons(table) == {None: 4}
    row = rows_of(table)["train_2_a_1"]
    volume = tree.read("train_2_a_1")
    assert (row["path"], row["study_id"]) == (tree.paths["train_2_a_1"], "train_2_a_1")
    assert (row["patient"], row["scan"], row["reconstruction"]) == ("train_2", "train_2_a", 1)
    assert (row["shape"], row["array_dtype"]) == (list(volume.shape), "int16")
    assert (row["spacing_i"], row["spacing_j"], row["xy_spacing"]) == (0.8, 0.8, "[0.8, 0.8]")
    stat = tree.place("train_2_a_1").stat()
    assert (row["num_bytes"], row["mtime_ns"]) == (stat.st_size, stat.st_mtime_ns)
    assert len(row["labels"]) == len(row["label_names"]) == 18
    assert "Findings" not in row["report"]
    assert row["report"]


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_every_depth_is_recognised(tmp_path: Path, depth: int) -> None:
    tree = make_npz_tree(tmp_path, num_volumes=3, depth=depth, shape=(5, 6, 7))
    table = read_npz_rows(VolumeDatasetSpec(name="tiny", **tree.fields()), tmp_path)
    assert reasons(table) == {None: 3}
    assert read_trees(table) == {"train": {"depth": depth, "files_by_depth": {str(depth): 3}}}


def test_the_depth_with_the_most_files_counts_and_the_others_are_named(
    tree: SyntheticTree, read: Read
) -> None:
    stray = tree.folder / "npz" / "stray.npz"
    deep = tree.folder / "npz" / "a" / "b" / "c" / "deep.npz"
    for place in (stray, deep):
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez(place, data=np.zeros((2, 2, 2)))
    table = read()
    assert reasons(table) == {None: 4, "other_depth": 2}
    assert read_trees(table)["train"] == {"depth": 2, "files_by_depth": {"1": 1, "2": 4, "4": 1}}
    details = [row["detail"] for row in table.to_pylist() if row["excluded"]]
    assert details[0].startswith("npz/a/b/c/deep.npz: at depth 4")


def test_the_depth_stays_when_most_of_its_files_were_deleted(
    tree: SyntheticTree, read: Read
) -> None:
    first = plan_catalog(read(), None, samples_per_shard=2, pinned=False)
    for study in list(tree.paths)[1:]:
        tree.place(study).unlink()
    for number in range(3):
        np.savez(tree.folder / "npz" / f"stray_{number}.npz", data=np.zeros((2, 2, 2)))
    table = read(first)
    assert read_trees(table)["train"]["depth"] == 2
    assert reasons(table) == {None: 1, "other_depth": 3, "missing_source": 3}
    grown = plan_catalog(table, first, pinned=False)
    assert [row["key"] for row in grown.to_pylist() if row["partition"]] == sorted(tree.paths)


def test_what_one_side_lacks_is_a_row_with_its_reason(tree: SyntheticTree, read: Read) -> None:
    np.savez(tree.folder / "npz" / "train_1" / "unknown.npz", data=np.zeros((2, 2, 2)))
    tree.place("train_1_a_1").unlink()
    edit(tree, "reports_file", lambda rows: rows.pop(1))
    edit(tree, "labels_file", lambda rows: rows.pop(2))
    rows = rows_of(read())
    assert {key: row["excluded"] for key, row in rows.items()} == {
        "unknown": "missing_metadata",
        "train_1_a_1": "missing_source",
        "train_1_a_2": "missing_report",
        "train_2_a_1": "missing_labels",
        "train_2_a_2": None,
    }
    assert rows["train_1_a_1"]["detail"].endswith("row 2: train has no file train_1_a_1.npz")
    assert rows["unknown"]["detail"].startswith("npz/train_1/unknown.npz: not in ")


def test_rows_that_repeat_one_are_reported_and_contradictions_exclude(
    tree: SyntheticTree, read: Read
) -> None:
    edit(tree, "meta_file", lambda rows: rows.append(rows[0]))
    edit(tree, "labels_file", lambda rows: rows.append({**rows[1], "Emphysema": "7"}))
    rows = rows_of(read())
    assert {key: row["excluded"] for key, row in rows.items()} == {
        "train_1_a_1": None,
        "train_1_a_2": "duplicate_row",
        "train_2_a_1": None,
        "train_2_a_2": None,
        "train-metadata-row-6": "duplicate_row",
        "train-labels-row-6": "duplicate_row",
    }
    assert "correct or remove one of them" in rows["train_1_a_2"]["detail"]
    assert "is already in row 2" in rows["train-metadata-row-6"]["detail"]


def test_two_files_of_one_study_are_ambiguous(tree: SyntheticTree, read: Read) -> None:
    other = tree.folder / "npz" / "train_9" / "train_1_a_1.npz"
    other.parent.mkdir()
    os.link(tree.place("train_1_a_1"), other)
    table = read()
    assert reasons(table) == {None: 3, "ambiguous_source": 2}
    assert len(set(table["key"].to_pylist())) == 5


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".npz", ""])
def test_names_in_the_tables_may_end_in_many_ways(
    tree: SyntheticTree, read: Read, ending: str
) -> None:
    def rename(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["VolumeName"] = row["VolumeName"].removesuffix(".nii.gz") + ending

    for table in ("meta_file", "reports_file", "labels_file"):
        edit(tree, table, rename)
    assert reasons(read()) == {None: 4}


def test_a_name_that_is_no_key_gets_one_and_keeps_its_study(
    tree: SyntheticTree, read: Read
) -> None:
    study = "Fall 3.größer"
    tree.place("train_1_a_1").rename(tree.place("train_1_a_1").with_name(f"{study}.npz"))
    for table in ("meta_file", "reports_file", "labels_file"):
        edit(tree, table, lambda rows: rows[0].update(VolumeName=f"{study}.nii.gz"))
    (row,) = [row for row in read().to_pylist() if row["study_id"] == study]
    assert row["excluded"] is None
    assert row["key"].startswith("Fall_3_gr__er-")
    assert row["patient"] is None


def test_a_header_that_cannot_be_read_leaves_the_reason_to_the_build(
    tree: SyntheticTree, read: Read
) -> None:
    tree.place("train_1_a_1").write_bytes(b"no zip at all")
    row = rows_of(read())["train_1_a_1"]
    assert (row["excluded"], row["shape"], row["num_bytes"]) == (None, None, 13)


def test_headers_of_unchanged_files_are_not_read_again(
    tree: SyntheticTree, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read()
    opened: list[str] = []

    def note(path: Path, key: str) -> Any:
        opened.append(path.name)
        raise OSError(key)

    monkeypatch.setattr("medassets.volumes.catalog.npz_tree.read_npz_header", note)
    os.utime(tree.place("train_2_a_2"), ns=(1, 1))
    second = rows_of(read(first))
    assert opened == ["train_2_a_2.npz"]
    assert second["train_1_a_1"]["shape"] == rows_of(first)["train_1_a_1"]["shape"]


def test_spacing_and_rescaling_are_asked_for_where_they_are_needed(
    tree: SyntheticTree, read: Read
) -> None:
    edit(tree, "meta_file", lambda rows: rows[0].update(ZSpacing=""))
    edit(tree, "meta_file", lambda rows: rows[1].update(RescaleSlope=""))
    edit(tree, "meta_file", lambda rows: rows[2].update(RescaleIntercept=""))
    for changes in ({"hu_rule": "none"}, {"hu_rule": "none", "preprocessing": "ct_clip"}):
        assert reasons(read(**changes)) == {None: 3, "spacing_missing": 1}
    for changes in ({}, {"hu_rule": "table"}, {"hu_rule": "table", "preprocessing": "ct_clip"}):
        table = read(**changes)
        assert reasons(table) == {None: 1, "spacing_missing": 1, "hu_rule_missing": 2}
        detail = rows_of(table)["train_1_a_2"]["detail"]
        assert detail.startswith("RescaleSlope is empty or zero; complete the table, or declare")


@pytest.mark.parametrize("column", ["RescaleSlope", "RescaleIntercept"])
def test_a_table_without_rescaling_needs_a_declaration(
    tree: SyntheticTree, read: Read, column: str
) -> None:
    path = tree.folder / tree.fields()["meta_file"]
    path.write_text(path.read_text("utf-8").replace(column, "Other"), "utf-8")
    for changes in ({}, {"hu_rule": "table"}):
        with pytest.raises(CatalogError, match=rf"row 1, column {column} \(.*`hu_rule: none`"):
            read(**changes)
    assert reasons(read(hu_rule="none")) == {None: 4}


def test_the_same_study_in_two_splits_is_planned_once(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        tree = make_npz_tree(tmp_path, num_volumes=2, split=split, shape=(5, 6, 7))
        (tmp_path / "npz").rename(tmp_path / f"{split}_npz")
    leak = tmp_path / "valid_npz" / "train_1" / "train_1_a_1.npz"
    leak.parent.mkdir()
    os.link(tmp_path / "train_npz" / "train_1" / "train_1_a_1.npz", leak)
    fields = tree.fields(splits=["train", "valid"], volumes_dir="{split}_npz")
    for name in ("meta_file", "reports_file", "labels_file"):
        fields[name] = fields[name].replace("validation", "{split}").replace("valid", "{split}")
    table = read_npz_rows(VolumeDatasetSpec(name="tiny", **fields), tmp_path)
    assert reasons(table) == {None: 4, "missing_metadata": 1}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"volumes_dir": "elsewhere"}, "elsewhere: no such folder"),
        ({"meta_file": "gone.csv"}, "gone.csv, with columns VolumeName, XYSpacing"),
    ],
)
def test_what_is_not_there_is_named(read: Read, changes: dict[str, Any], named: str) -> None:
    with pytest.raises(CatalogError, match=named):
        read(**changes)


@pytest.mark.parametrize("depth", [1, 2])
def test_a_pipe_is_a_row_of_its_own(tree: SyntheticTree, read: Read, depth: int) -> None:
    pipe = tree.folder / "npz" / ("pipe.npz" if depth == 1 else "train_1/pipe.npz")
    os.mkfifo(pipe)
    linked = tree.place("train_1_a_1")
    linked.rename(tree.folder / "elsewhere")
    linked.symlink_to(tree.folder / "elsewhere")
    table = read()
    assert reasons(table) == {None: 4, "unreadable_source": 1}
    (row,) = [row for row in table.to_pylist() if row["excluded"]]
    path = pipe.relative_to(tree.folder).as_posix()
    assert (row["path"], row["detail"]) == (path, f"{path}: not a regular file")


def test_a_pipe_takes_no_study_from_its_file(tree: SyntheticTree, read: Read) -> None:
    os.mkfifo(tree.folder / "npz" / "train_2" / "train_1_a_1.npz")
    table = read()
    assert reasons(table) == {None: 4, "unreadable_source": 1}
    assert rows_of(table)["train_1_a_1"]["excluded"] is None


@pytest.mark.parametrize("table", ["meta_file", "reports_file", "labels_file"])
def test_a_pipe_is_no_table(tree: SyntheticTree, read: Read, table: str) -> None:
    os.mkfifo(tree.folder / "pipe.csv")
    with pytest.raises(CatalogError, match=r"pipe\.csv: .*not a regular file"):
        read(**{table: "pipe.csv"})


@pytest.mark.parametrize("name", [b"npz/train_1/\xff.npz", b"npz/\xfe/train_1_a_1.npz"])
def test_a_name_that_is_not_utf8_costs_its_own_file(
    tree: SyntheticTree, read: Read, name: bytes
) -> None:
    place = tree.folder / os.fsdecode(name)
    place.parent.mkdir(exist_ok=True)
    os.link(tree.place("train_1_a_1"), place)
    table = read()
    assert reasons(table) == {None: 4, "bad_name": 1}
    (row,) = [row for row in table.to_pylist() if row["excluded"]]
    shown = name.decode("ascii", "surrogateescape").encode("ascii", "backslashreplace").decode()
    assert row["path"] == shown
    assert shown in row["detail"]
    plan_catalog(table, None, samples_per_shard=2, pinned=False)


@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_files_may_keep_the_ending_of_the_volume(
    tree: SyntheticTree, read: Read, ending: str
) -> None:
    place = tree.place("train_1_a_1")
    named = place.rename(place.with_name(f"train_1_a_1{ending}.npz"))
    table = read()
    assert reasons(table) == {None: 4}
    assert rows_of(table)["train_1_a_1"]["path"] == f"npz/train_1/{named.name}"
    os.link(named, place)
    assert reasons(read()) == {None: 3, "ambiguous_source": 2}


def test_all_that_is_missing_is_named_at_once(tree: SyntheticTree, read: Read) -> None:
    labels = tree.folder / tree.fields()["labels_file"]
    labels.write_text(labels.read_text("utf-8").replace("VolumeName", "Name"), "utf-8")
    with pytest.raises(CatalogError) as caught:
        read(meta_file="gone.csv", reports_file="/gone/too.csv")
    assert str(caught.value).splitlines()[1:] == [
        "  gone.csv, with columns VolumeName, XYSpacing, ZSpacing, RescaleSlope, RescaleIntercept "
        "(complete the table, or declare `hu_rule: none` if values are HU already)",
        "  /gone/too.csv, with columns VolumeName, Findings_EN, Impressions_EN",
        f"  {tree.fields()['labels_file']}, row 1, column VolumeName",
    ]


def test_tables_that_are_not_required_need_not_be_declared(tree: SyntheticTree, read: Read) -> None:
    spec = VolumeDatasetSpec(name="tiny", **tree.fields(reports_file="", labels_file=""))
    rows = read_npz_rows(spec, tree.folder, requires=()).to_pylist()
    assert {row["excluded"] for row in rows} == {None}
    assert {(row["report"], tuple(row["labels"]), *row["label_names"]) for row in rows} == {
        (None, ())
    }


def test_a_row_that_is_missing_leaves_a_sample_with_unknown_labels(
    tree: SyntheticTree, read: Read
) -> None:
    edit(tree, "labels_file", lambda rows: rows.pop(0))
    edit(tree, "labels_file", lambda rows: rows[0].update({"Emphysema": ""}))
    edit(tree, "reports_file", lambda rows: rows.pop(2))
    assert reasons(read()) == {None: 1, "missing_labels": 2, "missing_report": 1}
    spec = VolumeDatasetSpec(name="tiny", **tree.fields())
    table = read_npz_rows(spec, tree.folder, requires=())
    assert reasons(table) == {None: 4}
    unknown = [sum(label is None for label in row["labels"]) for row in table.to_pylist()]
    assert sorted(unknown) == [0, 0, 1, 18]
    assert sum(row["report"] is None for row in table.to_pylist()) == 1


def test_sections_that_are_no_part_of_the_text_may_be_absent(
    tree: SyntheticTree, read: Read
) -> None:
    whole = rows_of(read())
    path = tree.folder / tree.fields()["reports_file"]
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("Technique_EN", "Other"), encoding="utf-8")
    short = rows_of(read())
    assert {key: row["report"] for key, row in short.items()} == {
        key: row["report"] for key, row in whole.items()
    }
    assert {row["report_technique"] for row in short.values()} == {None}
    path.write_text(text.replace("Findings_EN", "Findings"), encoding="utf-8")
    with pytest.raises(CatalogError, match="column Findings_EN"):
        read()

"""The catalog of a tree: every file and every row of the table ends in a row, with a reason where excluded."""

import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest

from medassets.errors import CatalogError, Reason
from medassets.samples import ListedFile, Listing
from medassets.shards.catalog.planning import plan_catalog
from medassets.specs import VolumeDatasetSpec
from medassets.storage.formats.csv_tables import CsvTable, make_table
from medassets.volumes.catalog.columns import TEXT_COLUMNS
from medassets.volumes.catalog.tree.figures import TreeFigures, read_figures
from medassets.volumes.catalog.tree.rows import read_tree_rows

FLAT = [f"scan_{n}.nii.gz" for n in range(5)]
PATIENTS = [f"p{n}/{scan}.nii.gz" for n in range(8) for scan in ("a", "b")]
TABLE = make_table(
    "meta.csv",
    [
        ["id", "who", "text", "nodule", "set"],
        ["scan_0", "7", "clear", "0", "train"],
        ["scan_1", "7", "", "1", "train"],
        ["scan_2", "8", "nodule", "1", "val"],
        ["scan_3", "9", "x", "", "valid"],
        ["scan_8", "9", "x", "1", "valid"],
    ],
)
ALL = {"file": "id", "patient": "who", "report": ["text"], "labels": ["nodule"], "split": "set"}


def declare(**changes: Any) -> VolumeDatasetSpec:
    fields: dict[str, Any] = {"source": "folder", "folder": "/data", "layout": "tree"}
    return VolumeDatasetSpec(name="tiny", **{**fields, **changes})


def read(
    files: list[str] | list[ListedFile], table: CsvTable | None = None, **changes: Any
) -> pa.Table:
    names = ("requires", "previous", "with_texts")
    options = {name: changes.pop(name) for name in names if name in changes}
    listed = sorted(
        (ListedFile(one) if isinstance(one, str) else one for one in files), key=lambda f: f.path
    )
    if table is not None:
        changes = {"table": "meta.csv", "columns": ALL, **changes}
    return read_tree_rows(declare(**changes), Listing(tuple(listed)), table, **options)


def rows_of(table: pa.Table) -> dict[str, dict[str, Any]]:
    return {row["path"]: row for row in table.to_pylist() if row["path"]}


def reasons(table: pa.Table) -> Counter[str | None]:
    return Counter(table["excluded"].to_pylist())


def figures(table: pa.Table) -> TreeFigures:
    found = read_figures(table)
    assert found is not None
    return found


def plan(table: pa.Table, previous: pa.Table | None = None) -> pa.Table:
    size = 2 if previous is None else None
    return plan_catalog(table, previous, samples_per_shard=size, pinned=False)


def test_files_without_a_table_are_samples_without_report_and_labels() -> None:
    table = read(FLAT)
    assert reasons(table) == {None: 5}
    row = rows_of(table)["scan_0.nii.gz"]
    assert (row["key"], row["group"], row["patient"]) == ("scan_0", "scan_0", None)
    assert (row["report"], row["labels"], row["label_names"]) == (None, [], [])
    assert (row["spacing_i"], row["metadata"]) == (None, "{}")
    assert {row["split"] for row in table.to_pylist()} <= {"train", "valid"}
    assert (figures(table).split_by, figures(table).patients_from) == ("hash", "file")


def test_a_table_gives_patient_report_labels_and_split() -> None:
    table = read(FLAT, TABLE)
    assert reasons(table) == {None: 4, "missing_metadata": 1, "missing_source": 1}
    row = rows_of(table)["scan_2.nii.gz"]
    assert (row["patient"], row["group"], row["split"]) == ("8", "8", "valid")
    assert (row["report"], row["labels"], row["label_names"]) == ("nodule", [1.0], ["nodule"])
    join = figures(table).join
    assert join is not None
    assert (join.form, join.files_matched, join.files_unmatched) == ("stem", 4, 1)
    assert (join.rows_matched, join.rows_unmatched) == (4, 1)
    assert figures(table).patients == {"train": 1, "valid": 2}
    details = [row["detail"] for row in table.to_pylist() if row["excluded"]]
    assert details == [
        "scan_4.nii.gz: not in meta.csv, which has the split",
        "meta.csv, row 6: 'scan_8' names no volume of the tree",
    ]


def test_what_is_required_excludes_and_what_is_not_is_unknown() -> None:
    strict = read(FLAT[:4], TABLE, requires=("report", "labels"))
    assert reasons(strict) == {
        None: 2,
        "missing_report": 1,
        "missing_labels": 1,
        "missing_source": 1,
    }
    assert rows_of(strict)["scan_1.nii.gz"]["key"] == "scan_1"
    loose = rows_of(read(FLAT[:4], TABLE))
    assert loose["scan_1.nii.gz"]["report"] is None
    assert loose["scan_3.nii.gz"]["labels"] == [None]


def test_windows_have_neither_report_nor_labels() -> None:
    columns = {"file": "id", "patient": "who"}
    table = read(FLAT, TABLE, columns=columns, with_texts=False, split_by="folder")
    assert not TEXT_COLUMNS & set(table.column_names)
    assert rows_of(table)["scan_2.nii.gz"]["patient"] == "8"


def test_hidden_files_and_masks_are_counted_and_the_declaration_may_say_otherwise() -> None:
    files = ["s0/ct.nii.gz", "s1/ct.nii.gz", "s1/._ct.nii.gz", "s1/segmentations/liver.nii.gz"]
    table = read(files)
    assert reasons(table) == {None: 2, "hidden_file": 1, "name_excluded": 1}
    assert reasons(read(files, exclude=("CT",))) == {None: 1, "hidden_file": 1, "name_excluded": 2}
    assert reasons(read(files, exclude=())) == {None: 3, "hidden_file": 1}


def test_a_pattern_is_not_looked_for_in_the_folders_of_all_files() -> None:
    files = ["TotalSegmentator/s0/ct.nii.gz", "TotalSegmentator/s1/ct.nii.gz"]
    assert reasons(read(files)) == {None: 2}
    assert figures(read(files)).prefix == ["TotalSegmentator"]


def test_files_of_one_key_are_excluded_with_both_names() -> None:
    table = read(["a/b.nii.gz", "a_b.nii.gz", "c.nii", "C.nii.gz", "d.nii"])
    assert reasons(table) == {None: 1, "ambiguous_source": 4}
    row = rows_of(table)["a/b.nii.gz"]
    assert row["detail"].startswith("a/b.nii.gz and a_b.nii.gz make one sample key, 'a_b'")
    keys = table["key"].to_pylist()
    assert len({key.casefold() for key in keys}) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,90}", key) for key in keys)


def test_a_planned_sample_keeps_its_key_when_another_file_comes() -> None:
    before = plan(read(["a/b.nii.gz"], patient_from="file"))
    table = read(["a/b.nii.gz", "a_b.nii.gz"], patient_from="file", previous=before)
    assert {path: row["excluded"] for path, row in rows_of(table).items()} == {
        "a/b.nii.gz": None,
        "a_b.nii.gz": "ambiguous_source",
    }


def test_second_names_of_a_file_are_no_second_sample() -> None:
    files = [
        ListedFile("all/x.nii", "1:1", is_link=True),
        ListedFile("p/x.nii", "1:1"),
        ListedFile("q/y.nii", "1:2"),
        ListedFile("r/y.nii", "1:2"),
    ]
    table = read(files)
    assert {path: row["excluded"] for path, row in rows_of(table).items()} == {
        "all/x.nii": "duplicate_row",
        "p/x.nii": None,
        "q/y.nii": None,
        "r/y.nii": "duplicate_row",
    }
    assert rows_of(table)["all/x.nii"]["detail"] == "all/x.nii: the same file as p/x.nii, by a link"


def test_what_cannot_be_read_keeps_its_reason() -> None:
    problem = (Reason.UNREADABLE_SOURCE, "a.nii: not a regular file")
    table = read([ListedFile("a.nii", problem=problem), ListedFile("b.nii")])
    row = rows_of(table)["a.nii"]
    assert (row["excluded"], row["detail"]) == ("unreadable_source", "a.nii: not a regular file")


def test_a_patient_is_in_one_split_whatever_the_seed() -> None:
    for seed in range(20):
        table = read(PATIENTS, seed=seed)
        splits: dict[str, set[str]] = {}
        for row in table.to_pylist():
            splits.setdefault(row["patient"], set()).add(row["split"])
        assert len(splits) == 8
        assert all(len(found) == 1 for found in splits.values())


def test_the_column_of_patients_comes_before_the_folders() -> None:
    table = make_table("meta.csv", [["id", "who"], *([path, "one"] for path in PATIENTS)])
    found = read(PATIENTS, table, columns={"file": "id", "patient": "who"})
    assert len({row["split"] for row in found.to_pylist()}) == 1


def test_a_file_of_an_unknown_patient_has_no_hashed_split() -> None:
    columns = {"file": "id", "patient": "who"}
    table = read(FLAT, TABLE, columns=columns, split_by="hash")
    assert rows_of(table)["scan_4.nii.gz"]["excluded"] == "missing_metadata"


def test_channels_of_a_case_are_in_one_split() -> None:
    files = [f"images/c{n}_000{channel}.nii.gz" for n in range(20) for channel in range(3)]
    table = read(files)
    splits: dict[str, set[str]] = {}
    for path, row in rows_of(table).items():
        splits.setdefault(path.split("_")[0], set()).add(row["split"])
    assert all(len(found) == 1 for found in splits.values())
    assert {*table["split"].to_pylist()} == {"train", "valid"}


def test_folders_name_splits_and_patients_in_two_of_them_are_refused() -> None:
    files = ["imagesTr/a.nii.gz", "imagesTr/b.nii.gz", "imagesTs/c.nii.gz"]
    table = read(files)
    assert reasons(table) == {None: 2, "other_split": 1}
    assert figures(table).doubts == ["split valid gets no volume, by folder"]
    assert reasons(read(files, splits=("train", "test"))) == {None: 3}
    leaking = ["train/p1/a.nii", "train/p2/a.nii", "val/p1/b.nii"]
    with pytest.raises(CatalogError, match=r"^1 patient is in several splits: p1 \(train, valid\)"):
        read(leaking)
    accepted = read(leaking, accept_leaks=True)
    assert (reasons(accepted), figures(accepted).leaks) == ({None: 3}, {"p1": ["train", "valid"]})


def test_a_file_in_no_folder_of_a_split_is_named() -> None:
    files = ["train/a.nii", "b.nii"]
    with pytest.raises(CatalogError, match="1 files are in a folder that names a split"):
        read(files)
    table = read(files, split_by="folder")
    assert rows_of(table)["b.nii"]["excluded"] == "missing_metadata"


def test_ambiguous_and_contradicting_rows_exclude_their_files() -> None:
    table = make_table(
        "meta.csv",
        [
            ["id", "text"],
            ["x.nii", "a"],
            ["y.nii", "b"],
            ["y.nii", "c"],
            ["z.nii", "d"],
            ["z.nii", "d"],
        ],
    )
    files = ["p/x.nii", "q/x.nii", "p/y.nii", "p/z.nii"]
    found = read(files, table, columns={"file": "id", "report": ["text"]})
    assert reasons(found) == {None: 1, "ambiguous_source": 2, "duplicate_row": 2}
    join = figures(found).join
    assert join is not None
    assert (join.files_matched, join.files_ambiguous, join.rows_repeated) == (1, 3, 1)


def test_a_plan_keeps_decisions_and_splits() -> None:
    before = plan(read(["set1/p1/a.nii", "set1/p2/a.nii"], split_by="hash"))
    assert figures(before).prefix == ["set1"]
    grown = read(["set1/p1/a.nii", "set1/p2/a.nii", "set2/p1/b.nii"], previous=before)
    assert figures(grown).prefix == ["set1"]
    assert rows_of(grown)["set1/p1/a.nii"]["patient"] == "p1"
    assert plan(grown, before).num_rows == 3
    # It moves one of the two.
    with pytest.raises(CatalogError, match="planned samples are in another split now"):
        read(["set1/p1/a.nii", "set1/p2/a.nii"], previous=before, seed=1)


def test_a_patient_of_a_planned_sample_whose_file_is_gone_stays_in_its_split() -> None:
    table = make_table("meta.csv", [["id", "who", "set"], ["a", "7", "train"], ["b", "7", "valid"]])
    columns = {"file": "id", "patient": "who", "split": "set"}
    before = plan(read(["a.nii"], table, columns=columns))
    with pytest.raises(CatalogError, match=r"1 patient is in several splits: 7 \(train, valid\)"):
        read(["b.nii"], table, columns=columns, previous=before)


def test_labels_are_counted_with_the_unknown_ones() -> None:
    summary = read(FLAT[:4], TABLE).schema.metadata[b"medassets.labels"].decode()
    assert '"nodule": {"0": 1, "1": 2, "unknown": 1}' in summary


def test_a_plan_keeps_the_form_of_its_join_when_files_are_gone() -> None:
    table = make_table("meta.csv", [["id", "who"], ["p1", "a"], ["p2", "b"], ["x", "c"]])
    columns = {"file": "id", "patient": "who"}
    before = plan(read(["p1/x.nii", "p2/y.nii", "p2/z.nii"], table, columns=columns))
    found = read(["q/x.nii"], table, columns=columns, previous=before)
    join = figures(found).join
    assert join is not None
    assert (join.form, join.files_matched, join.rows_unmatched) == ("folder", 0, 3)

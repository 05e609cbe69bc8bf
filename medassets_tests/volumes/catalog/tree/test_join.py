"""Which row is about which file: one form of names, everything counted, nothing guessed."""

import pandas as pd
import pytest

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, make_table
from medassets.volumes.catalog.tree.join import join_table, normalise_cell
from medassets.volumes.catalog.tree.names import strip_ending

SEGMENTATOR = ["s0000/ct.nii.gz", "s0001/ct.nii.gz", "s0002/ct.nii.gz"]
NNUNET = ["imagesTr/A_0000.nii.gz", "imagesTr/A_0001.nii.gz", "imagesTr/B_0000.nii.gz"]


def make(*cells: str, **columns: list[str]) -> CsvTable:
    rows = zip(cells, *columns.values(), strict=True)
    return make_table("meta.csv", [["file", *columns], *map(list, rows)])


@pytest.mark.parametrize(
    ("form", "paths", "cells"),
    [
        ("path", ["a/x.nii.gz", "b/x.nii.gz"], ["a/x.nii.gz", "b/x.nii.gz"]),
        ("path", ["a/x.nii.gz", "b/x.nii"], ["./a/x", "/data/set/b\\x.nii"]),
        ("path", ["top/a/x.nii", "top/b/x.nii"], ["a/x.nii", "b/x.nii"]),
        ("name", ["a/x.nii.gz", "b/y.nii"], ["x.nii.gz", "y.nii"]),
        ("stem", ["a/x.nii.gz", "b/y.nii"], ["x", "y.npz"]),
        ("stem", ["amos_0001.nii.gz", "amos_0002.nii.gz"], ["amos_0001", "amos_0002"]),
        ("case", ["im/A_0000.nii.gz", "im/B_0000.nii.gz"], ["A", "B"]),
        ("folder", SEGMENTATOR[:2], ["s0000", "s0001"]),
        ("folder", ["train/p1/a/x.nii", "train/p2/b/x.nii"], ["train/p1", "train/p2/b"]),
    ],
)
def test_the_form_that_finds_the_files_is_taken(
    form: str, paths: list[str], cells: list[str]
) -> None:
    join = join_table(make(*cells), "file", paths)
    assert (join.form, dict(join.row_of)) == (form, {paths[0]: 0, paths[1]: 1})
    assert join_table(make(*cells), "file", paths, form=form) == join


def test_rows_and_files_are_counted_both_ways_as_pandas_merges_them() -> None:
    paths = [f"im/c{n}.nii.gz" for n in range(7)]
    cells = ["c0", "c2", "c9", "c3", "c3", ""]
    join = join_table(make(*cells, note=["a"] * 6), "file", paths)
    frame = pd.DataFrame({"stem": [strip_ending(path).rpartition("/")[2] for path in paths]})
    merged = frame.merge(
        pd.DataFrame({"stem": cells}).drop_duplicates(), how="outer", indicator=True
    )
    counts = merged["_merge"].value_counts()
    assert (len(join.row_of), join.num_rows) == (counts["both"], counts["both"]) == (3, 3)
    assert len(paths) - len(join.row_of) == counts["left_only"] == 4
    assert join.unmatched == [2, 5]
    assert join.repeats == {4: 3}


def test_one_row_may_be_about_the_channels_or_the_folder_of_several_files() -> None:
    join = join_table(make("A", "B"), "file", NNUNET)
    assert dict(join.row_of) == {NNUNET[0]: 0, NNUNET[1]: 0, NNUNET[2]: 1}
    paths = ["p1/a.nii", "p1/b.nii", "p2/a.nii"]
    assert dict(join_table(make("p1", "p2"), "file", paths).row_of) == {
        "p1/a.nii": 0,
        "p1/b.nii": 0,
        "p2/a.nii": 1,
    }


@pytest.mark.parametrize(
    ("paths", "cell", "form"),
    [
        (["a/x.nii", "b/x.nii", "y.nii"], "x.nii", "name"),
        (["a/x.nii", "b/x.nii.gz", "y.nii"], "x", "stem"),
        (["train/p1/ct.nii", "valid/p1/ct.nii", "train/p2/ct.nii"], "p1", "folder"),
        (["train/p1/ct.nii", "valid/p1/ct.nii", "train/p2/ct.nii"], "p1/ct.nii", "path"),
        (["a/c_0000.nii", "b/c_0000.nii", "d_0000.nii"], "c", "case"),
    ],
)
def test_a_name_of_several_files_is_not_guessed(paths: list[str], cell: str, form: str) -> None:
    other = {"name": "y.nii", "stem": "y", "folder": "p2", "path": "p2/ct.nii", "case": "d"}[form]
    join = join_table(make(cell, other), "file", paths)
    assert (join.form, dict(join.row_of)) == (form, {paths[2]: 1})
    assert set(join.ambiguous) == set(paths[:2])
    assert f"meta.csv, row 2: {cell!r} names {paths[0]}, {paths[1]}" in join.ambiguous[paths[0]]


def test_a_path_in_another_folder_of_the_same_names_is_not_it() -> None:
    join = join_table(
        make("train/p1/ct.nii", "train/p2/ct.nii"), "file", ["valid/p1/ct.nii", "train/p2/ct.nii"]
    )
    assert dict(join.row_of) == {"train/p2/ct.nii": 1}


def test_rows_of_one_file_that_differ_are_a_conflict_and_equal_ones_repeats() -> None:
    table = make("x", "x", "y", "y", label=["0", "1", "1", "1"])
    join = join_table(table, "file", ["x.nii", "y.nii"])
    assert dict(join.row_of) == {"y.nii": 2}
    assert join.conflicts == {
        "x.nii": "meta.csv: rows 2 and 3 are about x.nii but differ; correct or remove one of them"
    }
    assert join.repeats == {3: 2}


def test_cells_that_are_names_of_different_files_in_two_forms_ask_for_the_form() -> None:
    paths = ["1/2.nii", "2/1.nii"]
    with pytest.raises(
        CatalogError,
        match=r"'1' is the stem of one file and the folder of another.*`join_by: stem`",
    ):
        join_table(make("1", "2"), "file", paths)
    assert dict(join_table(make("1", "2"), "file", paths, form="folder").row_of) == {
        "1/2.nii": 0,
        "2/1.nii": 1,
    }


def test_a_table_of_other_files_is_refused_with_examples_of_both() -> None:
    with pytest.raises(
        CatalogError,
        match=r"meta\.csv, column file: no row names a file: cells such as 1, 2, files such as s0000/ct",
    ):
        join_table(make("1", "2"), "file", SEGMENTATOR)
    assert join_table(make("1"), "file", []).unmatched == [0]
    assert join_table(make("1"), "file", SEGMENTATOR, may_miss=True).unmatched == [0]
    assert set(join_table(make("ct"), "file", SEGMENTATOR).ambiguous) == set(SEGMENTATOR)


@pytest.mark.parametrize(
    ("cell", "path"),
    [("a\\b.nii", "a/b.nii"), ("./a//b/", "a/b"), ("/data/a", "data/a"), ("..", "..")],
)
def test_cells_become_paths(cell: str, path: str) -> None:
    assert normalise_cell(cell) == path

from pathlib import Path

import pandas as pd
import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.tables import (
    count_joined,
    doubt_decimal_commas,
    doubt_header,
    find_decimal_commas,
    guess_columns,
    is_label,
    list_splits,
    match_table,
    read_one,
    read_tables,
    show_cells,
)

CLOCK = Clock(600)
PATHS = [f"p{n // 2}/scan_{n}.nii.gz" for n in range(6)]
FRAME = pd.DataFrame(
    {
        "Unnamed: 0": range(6),
        "image": [f"scan_{n}" for n in range(6)],
        "Subject ID": [f"{n // 2:03d}" for n in range(6)],
        "Findings_EN": ["No nodule is seen."] * 6,
        "notes": ["A long text of the reader that says much about the study."] * 6,
        "nodule": [0, 1, 0, 1, 0, 1],
        "Pleural effusion": ["True", "False", "", "True", "True", "True"],
        "sex": [0, 1, 0, 1, 0, 1],
        "age": [50, 61, 40, 33, 71, 50],
        "Set": ["training", "training", "validation", "training", "Test", "training"],
    }
)


def write(folder: Path, name: str = "meta.csv", frame: pd.DataFrame = FRAME) -> Path:
    frame.to_csv(folder / name, index=False)
    return folder / name


def test_columns_are_known_by_their_names_and_cells(tmp_path: Path) -> None:
    look = match_table(read_one(tmp_path, write(tmp_path).name), PATHS, CLOCK)
    assert (look.file, look.num_files) == ("image", 6)
    assert guess_columns(look) == {
        "file": "image",
        "patient": "Subject ID",
        "report": ["Findings_EN", "notes"],
        "labels": ["nodule", "Pleural effusion"],
        "split": "Set",
    }
    assert list_splits(look.table, "Set") == ["train", "valid", "test"]


def test_a_patient_column_with_gaps_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, frame=FRAME.assign(**{"Subject ID": ["001", "", "", "", "", ""]}))
    look = match_table(read_one(tmp_path, "meta.csv"), PATHS, CLOCK)
    assert "patient" not in guess_columns(look)


@pytest.mark.parametrize(("column", "expected"), [("nodule", True), ("sex", False), ("age", False)])
def test_only_zeros_and_ones_of_no_identifier_are_labels(
    tmp_path: Path, column: str, expected: bool
) -> None:
    assert is_label(read_one(tmp_path, write(tmp_path).name).table, column) is expected


def test_all_rows_of_a_long_table_are_counted(tmp_path: Path) -> None:
    frame = pd.DataFrame({"file": [f"c{n}.nii" for n in range(300)]})
    write(tmp_path, frame=frame)
    paths = [f"c{n}.nii" for n in range(290)]
    look = match_table(read_one(tmp_path, "meta.csv"), paths, CLOCK)
    assert look.num_files == 200
    assert count_joined(look, "file", paths) == 290


def test_a_table_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.csv").write_bytes(b"a,b\n\xff,1\n")
    (tmp_path / "x").mkdir()
    write(tmp_path / "x")
    first, second = read_tables(take_census(tmp_path), CLOCK)
    assert "not UTF-8" in first.problem
    assert second.table.path == "x/meta.csv"


def test_a_table_that_takes_long_is_not_looked_at(tmp_path: Path) -> None:
    content = b"file,text\n" + (b"a.nii," + b"x" * (5 << 20) + b"\n") * 5
    (tmp_path / "large.csv").write_bytes(content)
    (found,) = read_tables(take_census(tmp_path), CLOCK)
    assert "too large" in found.problem


def test_tables_that_name_no_file_have_no_column_of_files(tmp_path: Path) -> None:
    write(tmp_path, frame=pd.DataFrame({"word": ["a", "b"], "n": [0, 1]}))
    assert match_table(read_one(tmp_path, "meta.csv"), PATHS, CLOCK).file == ""


def test_numbers_with_a_decimal_comma_are_found(tmp_path: Path) -> None:
    cells = {"a": ["0,5", "1", ""], "b": ["0.5", "1", "2"], "c": ["1,2 cm", "0,5", "1"]}
    look = read_one(tmp_path, write(tmp_path, frame=pd.DataFrame(cells)).name)
    assert find_decimal_commas(look.table, ["a", "b", "c"]) == {"a": "0,5"}
    (doubt,) = doubt_decimal_commas(look.table, look.table.columns)
    assert "column a" in doubt
    assert "write 0.5" in doubt


def test_cells_are_shown_of_the_column_with_the_most_values(tmp_path: Path) -> None:
    cells = {"grade": [1, 1, 2], "id": ["x", "y", "z"]}
    look = read_one(tmp_path, write(tmp_path, frame=pd.DataFrame(cells)).name)
    assert show_cells(look.table) == "column id with 'x', 'y'"
    assert show_cells(look.table, "grade") == "column grade with '1', '2'"


def test_a_title_above_the_header_is_a_doubt_and_an_index_is_not(tmp_path: Path) -> None:
    (tmp_path / "titled.csv").write_text("Study of 2024,\nid,nodule\ncase_0,1\n")
    (doubt,) = doubt_header(read_one(tmp_path, "titled.csv").table)
    assert "cells such as 'nodule', '1' has no name in row 1" in doubt
    FRAME.to_csv(tmp_path / "indexed.csv")
    for name in ("indexed.csv", write(tmp_path).name):
        assert doubt_header(read_one(tmp_path, name).table) == []

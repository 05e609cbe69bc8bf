"""Columns of a table of labels: labels are taken, an index or identifier is refused by name."""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.storage.formats.label_rules import LabelRules
from medassets.testing.ct_rate_tables import LABEL_NAMES, VolumeEntry, write_tables
from medassets.volumes.catalog.ct_rate import read_rows
from medassets.volumes.catalog.ct_rate_names import table_paths
from medassets.volumes.catalog.label_columns import choose_label_columns
from medassets.volumes.catalog.label_summary import read_summary
from medassets_tests.shared_cases import find_case
from medassets_tests.volumes.catalog.test_ct_rate import TreeSource, VolumeDatasetSpec

NUM_ROWS = 12
BINARY = [str(n % 2) for n in range(NUM_ROWS)]
RANDOM = np.random.default_rng(3)


def make_table(**columns: list[Any]) -> CsvTable:
    frame = pd.DataFrame({"VolumeName": [f"v{n}" for n in range(NUM_ROWS)], **columns})
    return parse_csv(frame.to_csv(index=False).encode(), "labels.csv")


def choose(table: CsvTable, *declared: str) -> tuple[str, ...]:
    return choose_label_columns(table, LabelRules(columns=declared))


def test_the_18_labels_of_ct_rate_are_labels() -> None:
    table = make_table(**dict.fromkeys(LABEL_NAMES, BINARY))
    assert choose(table) == LABEL_NAMES


@pytest.mark.parametrize(
    "name",
    [
        *("Unnamed: 0", "Unnamed: 0.1", "index", "Index", "level_0", "row", "row_id", "No."),
        *("PatientID", "patient_id", "Patient", "StudyInstanceUID", "SeriesInstanceUID", "uid"),
        *("fold", "Fold", "split", "set", "AccessionNumber", "case_id", "ScanID", "id", "ID"),
        *("StudyDate", "PatientAge", "PatientSex", "site", "filename", "subject id", "image_uid"),
    ],
)
def test_an_index_or_identifier_is_refused_by_its_name(name: str) -> None:
    table = make_table(**{name: BINARY, "Nodule": BINARY, "Mass: left": BINARY})
    with pytest.raises(
        CatalogError, match=r"labels.csv, row 1, column .* not taken for a label"
    ) as caught:
        choose(table)
    assert f"column {name}: {name} (an i" in str(caught.value)
    assert 'labels: {columns: [Nodule, "Mass: left"]}' in str(caught.value)
    assert choose(table, "Mass: left") == ("Mass: left",)
    assert choose(table, name) == (name,)


@pytest.mark.parametrize(
    ("cells", "what"),
    [
        ([str(n) for n in range(NUM_ROWS)], "running numbers from 0 to 11"),
        ([str(n) for n in range(NUM_ROWS, 0, -1)], "running numbers from 12 to 1"),
        ([str(n * 37 % 101) for n in range(NUM_ROWS)], "another whole number in each of 12 rows"),
        ([f"v{n}" for n in range(NUM_ROWS)], "text such as 'v0'"),
        ([str(n % 6) for n in range(NUM_ROWS)], "running numbers from 0, 2 times"),
        ([str(n % 7 + 1) for n in range(NUM_ROWS)], "running numbers from 1, 2 times"),
    ],
)
def test_a_column_that_counts_or_names_is_refused_by_its_content(
    cells: list[str], what: str
) -> None:
    with pytest.raises(CatalogError, match=what):
        choose(make_table(Nodule=BINARY, Thing=cells))


def test_each_number_as_often_as_the_others_is_no_label() -> None:
    cells = [str(n) for n in RANDOM.permutation([*range(10), *range(10)])]
    content = "VolumeName,Thing\n" + "".join(f"v{n},{cell}\n" for n, cell in enumerate(cells))
    with pytest.raises(CatalogError, match="each number from 0 to 9 as often"):
        choose(parse_csv(content.encode(), "labels.csv"))


def test_grades_are_labels() -> None:
    for top in (2, 3, 5, 8):
        grades = [str(n) for n in RANDOM.integers(0, top, NUM_ROWS)]
        assert choose(make_table(Grade=grades)) == ("Grade",)


def test_what_pandas_writes_with_its_index_is_refused_with_the_columns_to_declare() -> None:
    frame = pd.DataFrame({"VolumeName": ["a", "b"], "Nodule": [0, 1], "Mass": [1, 1]})
    again = pd.read_csv(io.StringIO(frame.to_csv())).to_csv(index=False)
    for content in (frame.to_csv(), again):
        table = parse_csv(content.encode(), "labels.csv")
        with pytest.raises(CatalogError, match=r"columns: \[Nodule, Mass\]"):
            choose(table)
        assert choose(table, "Mass", "Nodule") == ("Mass", "Nodule")


def test_a_declared_column_that_is_missing_is_named() -> None:
    with pytest.raises(CatalogError, match="column Mass: missing; found VolumeName, Nodule"):
        choose(make_table(Nodule=BINARY), "Mass")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Tables of four volumes."""
    entries = [VolumeEntry(f"valid_{n}_a_1", n, n, (5, 7, 11), (1, 1, 1)) for n in range(1, 5)]
    write_tables(tmp_path, split="valid", entries=entries)
    return tmp_path


def read(folder: Path, **changes: Any) -> Any:
    spec = VolumeDatasetSpec(name="ct", source="folder", folder="/unused", **changes)
    return read_rows(TreeSource(folder), spec, "valid", None)


def test_row_numbers_do_not_move_the_labels(tree: Path) -> None:
    paths = table_paths("valid")
    shutil.copy(find_case("tables/labels_with_row_numbers.csv"), tree / paths.labels)
    with pytest.raises(CatalogError, match=r"column Unnamed: 0: .*an index by its name"):
        read(tree)
    names = ["Medical material", "Cardiomegaly", "Lung nodule"]
    table = read(tree, labels={"columns": names})
    assert table["labels"].to_pylist() == [[0, 1, 0], [0, 1, 1], [0, 1, 0], [0, 1, 1]]
    summary = read_summary(table)
    assert summary is not None
    assert summary.names == names
    assert summary.counts["Lung nodule"] == {"0": 2, "1": 2}


def test_words_for_nothing_are_no_reports(tree: Path) -> None:
    paths = table_paths("valid")
    shutil.copy(find_case("tables/reports_with_nan_words.csv"), tree / paths.reports)
    table = read(tree)
    assert table["excluded"].to_pylist() == ["missing_report"] * 3 + [None]
    assert table["report"].to_pylist() == [None, None, None, "Normal"]


@pytest.mark.parametrize("word", ["NA", "N/A", "<NA>", "nan", "None", " ", ""])
def test_a_number_that_is_not_given_excludes_its_row_only(tree: Path, word: str) -> None:
    paths = table_paths("valid")
    columns = [
        (paths.metadata, "ZSpacing"),
        (paths.metadata, "XYSpacing"),
        (paths.labels, LABEL_NAMES[3]),
    ]
    for number, (path, column) in enumerate(columns):
        frame = pd.read_csv(tree / path, dtype=str, keep_default_na=False)
        frame.loc[number, column] = word
        frame.to_csv(tree / path, index=False)
    found = read(tree)["excluded"].to_pylist()
    assert found == ["spacing_missing", "spacing_missing", "missing_labels", None]


def test_values_that_the_declaration_does_not_allow_exclude_their_row(tree: Path) -> None:
    paths = table_paths("valid")
    frame = pd.read_csv(tree / paths.labels)
    frame.loc[1, LABEL_NAMES[0]] = 3
    frame.to_csv(tree / paths.labels, index=False)
    summary = read_summary(read(tree))
    assert summary is not None
    (doubt,) = summary.doubts
    assert doubt.startswith("Medical material has values beyond 0 and 1: ")
    table = read(tree, labels={"values": [0, 1]})
    assert table["excluded"].to_pylist() == [None, "bad_labels", None, None]
    assert table["detail"].to_pylist()[1] == "label 0 is 3; the declaration allows 0, 1"


def test_random_tables_never_give_other_labels_or_texts(tree: Path) -> None:
    """Compare with an independent reading; what differs is excluded, refused or doubted."""
    paths = table_paths("valid")
    words = ["0", "1", "1.0", "0.5", "NA", "nan", "", "None", "<NA>", "2", " 1 ", "N/A"]
    texts = ["Normal", "nan", "None.", "", "  ", "N/A", "Not given.", "No nodule; 3 cm, left"]
    names = ["A", "Unnamed: 0", "PatientID", "B", "fold", "Mass"]
    num_read = 0
    for _ in range(60):
        chosen = [str(n) for n in RANDOM.permutation(names)[: RANDOM.integers(1, 5)]]
        labels = {name: RANDOM.choice(words, 4).tolist() for name in chosen}
        keys = {"VolumeName": [f"valid_{n}_a_1.nii.gz" for n in range(1, 5)]}
        sections = {
            f"{name}_EN": RANDOM.choice(texts, 4).tolist()
            for name in ("ClinicalInformation", "Technique", "Findings", "Impressions")
        }
        separator = str(RANDOM.choice([",", ";", "\t"]))
        for path, columns in ((paths.labels, labels), (paths.reports, sections)):
            frame = pd.DataFrame({**keys, **columns})
            frame.to_csv(tree / path, index=False, sep=separator, quoting=csv.QUOTE_MINIMAL)
        try:
            table = read(tree)
        except CatalogError:
            continue
        num_read += 1
        assert not {"Unnamed: 0", "PatientID", "fold"}.intersection(chosen)
        summary = read_summary(table)
        assert summary is not None
        for n, row in enumerate(table.to_pylist()):
            cells = [labels[name][n].strip() for name in chosen]
            parts = [sections[f"{name}_EN"][n].strip() for name in ("Findings", "Impressions")]
            given = [part for part in parts if part in ("Normal", "No nodule; 3 cm, left")]
            if row["excluded"] is not None:
                assert not given or not all(cell[:1].isdigit() for cell in cells)
                continue
            assert row["label_names"] == chosen
            assert row["labels"] == [float(cell) for cell in cells]
            assert row["report"] == "\n".join(given)
            if "2" in cells:
                assert summary.doubts
    assert num_read > 5


def test_true_and_false_are_1_and_0(tree: Path) -> None:
    paths = table_paths("valid")
    frame = pd.read_csv(tree / paths.labels)[["VolumeName"]].assign(
        Nodule=[True, False, True, True], Mass=["TRUE", "false", "", "0"]
    )
    frame.to_csv(tree / paths.labels, index=False)
    table = read(tree)
    assert table["labels"].to_pylist() == [[1, 1], [0, 0], None, [1, 0]]
    assert table["excluded"].to_pylist() == [None, None, "missing_labels", None]


def test_a_column_of_the_metadata_is_no_label(tree: Path) -> None:
    paths = table_paths("valid")
    frame = pd.read_csv(tree / paths.labels).assign(RescaleSlope=1, KVP=[0, 1, 0, 1])
    frame.to_csv(tree / paths.labels, index=False)
    with pytest.raises(CatalogError, match=r"RescaleSlope \(a column of another table, too\)"):
        read(tree)

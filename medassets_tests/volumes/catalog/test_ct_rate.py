"""Joining the tables of a CT-RATE layout: nothing lost, everything wrong named."""

import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.errors import CatalogError
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.ct_rate_tables import VolumeEntry, make_ct_rate_tables, write_tables
from medassets.volumes.catalog.columns import LABEL_NAMES_KEY, ROW_SCHEMA
from medassets.volumes.catalog.ct_rate import (
    LABEL_NAMES,
    read_rows,
    table_paths,
)

PATHS = table_paths("train")
SPEC = VolumeDatasetSpec(name="test_ct", source="folder", folder="/unused")


def count_exclusions(rows: pa.Table) -> dict[str, int]:
    """Count excluded rows by reason, reasons in alphabetical order."""
    entries = rows.column("excluded").drop_null().value_counts().to_pylist()
    return dict(sorted((entry["values"], entry["counts"]) for entry in entries))


class TreeSource:
    """Tables of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return a file of the folder."""
        if not (self.folder / path).exists():
            msg = f"no such file: {path}"
            raise CatalogError(msg)
        return (self.folder / path).read_bytes()


def read(folder: Path, spec: VolumeDatasetSpec = SPEC) -> pa.Table:
    """Read the split `train` of a folder."""
    return read_rows(TreeSource(folder), spec, "train", "c0ffee")


def edit_cell(path: Path, row: int, column: str, text: str) -> None:
    """Put a text into one cell; rows count as in a spreadsheet, the header is row 1."""
    rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
    rows[row - 1][rows[0].index(column)] = text
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    path.write_bytes(buffer.getvalue().encode())


def edit_lines(path: Path, edit: Callable[[list[str]], list[str]]) -> None:
    """Change the lines of a table that has one line per row."""
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join(edit(lines)) + "\n", encoding="utf-8", newline="\n")


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Tables of five scans, one volume each: train_1_a_1 … train_5_a_1; rows 2 to 6."""
    entries = [
        VolumeEntry(
            key=f"train_{patient}_a_1",
            patient_index=patient,
            scan_index=4 * patient,
            shape=(30, 20, 10 + patient),
            spacing_mm=(0.75, 0.8, 1.5),
        )
        for patient in range(1, 6)
    ]
    write_tables(tmp_path, split="train", entries=entries)
    return tmp_path


def test_a_row_holds_what_the_four_tables_say(tables: Path) -> None:
    row = read(tables).to_pylist()[1]
    assert row["key"] == "train_2_a_1"
    assert row["path"] == "dataset/train_fixed/train_2/train_2_a/train_2_a_1.nii.gz"
    assert (row["split"], row["revision"]) == ("train", "c0ffee")
    assert (row["excluded"], row["detail"]) == (None, None)
    assert (row["group"], row["patient"], row["scan"]) == ("train_2", "train_2", "train_2_a")
    assert (row["reconstruction"], row["num_slices"]) == (1, 12)
    assert (row["spacing_i"], row["spacing_j"], row["spacing_k"]) == (0.75, 0.8, 1.5)
    assert (row["rescale_slope"], row["rescale_intercept"]) == (1, -1024)
    assert row["report_technique"] == 'Non-contrast, 1.5 mm, "low dose".'
    assert "Ø 42 mm" in row["report_findings"]
    assert row["report"] == f"{row['report_findings']}\n{row['report_impressions']}"
    assert row["label_names"] == list(LABEL_NAMES)
    assert len(row["labels"]) == 18


def test_metadata_keeps_all_other_columns_with_their_types(tables: Path) -> None:
    metadata = json.loads(read(tables).to_pylist()[0]["metadata"])
    assert len(metadata) == 43
    assert list(metadata) == sorted(metadata)
    assert metadata["PatientAge"] == "025Y"
    assert metadata["StudyDate"] == "20210505"
    assert metadata["XYSpacing"] == [0.75, 0.8]
    assert metadata["CTDIvol"] == 7.830488795
    assert type(metadata["Rows"]) is int
    assert metadata["GantryDetectorTilt"] is None


@pytest.mark.parametrize("text", ["Not given.", "not given", " Not given. ", ""])
def test_not_given_is_a_missing_section(tables: Path, text: str) -> None:
    edit_cell(tables / PATHS.reports, 2, "Impressions_EN", text)
    row = read(tables).to_pylist()[0]
    assert row["report_impressions"] is None
    assert row["report"] == row["report_findings"]


def test_labels_keep_the_order_of_the_table(tables: Path) -> None:
    edit_cell(tables / PATHS.labels, 2, "Cardiomegaly", "0.25")
    row = read(tables).to_pylist()[0]
    assert row["labels"][LABEL_NAMES.index("Cardiomegaly")] == 0.25


def test_label_names_survive_concat_and_parquet(tables: Path, tmp_path: Path) -> None:
    both = pa.concat_tables([read(tables), read(tables).replace_schema_metadata(None)])
    pq.write_table(both, tmp_path / "rows.parquet")
    again = pq.read_table(tmp_path / "rows.parquet")
    assert json.loads((again.schema.metadata or {})[LABEL_NAMES_KEY]) == list(LABEL_NAMES)
    assert {tuple(names) for names in again["label_names"].to_pylist()} == {LABEL_NAMES}


def test_byte_order_mark_and_windows_line_ends_change_nothing(tables: Path) -> None:
    expected = read(tables)
    for path in (PATHS.metadata, PATHS.labels):
        content = (tables / path).read_bytes()
        (tables / path).write_bytes(b"\xef\xbb\xbf" + content.replace(b"\n", b"\r\n"))
    assert read(tables).equals(expected)


def test_the_repositories_made_for_tests_meet_their_fate(tmp_path: Path) -> None:
    repository = make_ct_rate_repository(tmp_path, num_patients=3)
    for split in ("train", "valid"):
        rows = read_rows(TreeSource(tmp_path), SPEC, split, None).to_pylist()
        expected = [v for v in repository.volumes if v.split == split]
        assert [row["key"] for row in rows] == [v.key for v in expected]
        assert [row["excluded"] for row in rows] == [v.reason for v in expected]
        assert all((tmp_path / row["path"]).is_file() for row in rows)


# ---- rows that cannot become samples


def exclusion(folder: Path, key: str = "train_3_a_1", spec: VolumeDatasetSpec = SPEC) -> str | None:
    """Return the reason one key is excluded for, after checking that no row got lost."""
    rows = read(folder, spec).to_pylist()
    assert len({row["key"] for row in rows}) == len(rows)
    assert all((row["excluded"] is None) == (row["detail"] is None) for row in rows)
    return {row["key"]: row["excluded"] for row in rows}[key]


@pytest.mark.parametrize(
    "line",
    [
        "dataset/train/train_3/train_3_a/train_3_a_1.nii.gz",
        "train_3_a_1.nii.gz\r",
        "/x/train_3_a",
    ],
)
def test_no_chest_lists_match_on_the_base_name(tables: Path, line: str) -> None:
    (tables / PATHS.no_chest).write_text(f"\n{line}\n", encoding="utf-8", newline="")
    assert exclusion(tables) == "no_chest"
    assert count_exclusions(read(tables)) == {"no_chest": 1}


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("ZSpacing", ""),
        ("ZSpacing", "nan"),
        ("ZSpacing", "0"),
        ("ZSpacing", "-1.5"),
        ("XYSpacing", ""),
        ("XYSpacing", "[NaN, NaN]"),
        ("XYSpacing", "[0.75, 0.0]"),
    ],
)
def test_unusable_spacing_excludes_the_row(tables: Path, column: str, text: str) -> None:
    edit_cell(tables / PATHS.metadata, 4, column, text)
    assert exclusion(tables) == "spacing_missing"


@pytest.mark.parametrize(
    "name",
    [
        "valid_3_a_1.nii.gz",
        "../train_3_a_1.nii.gz",
        "train_3_A_1.nii.gz",
        "train_\u0663_a_1.nii.gz",
        "train_3_a_1.nii.gz.exe",
        "train_3_a_99999999999999999999.nii.gz",
        "",
    ],
)
def test_a_strange_name_excludes_the_row_and_makes_no_path(tables: Path, name: str) -> None:
    edit_cell(tables / PATHS.metadata, 4, "VolumeName", name)
    rows = {row["key"]: row for row in read(tables).to_pylist()}
    assert rows["train-metadata-row-4"]["excluded"] == "bad_name"
    assert rows["train-metadata-row-4"]["path"] is None
    assert rows["train_3_a_1"]["excluded"] == "missing_metadata"


def test_a_repeated_row_is_counted_and_the_first_stays(tables: Path) -> None:
    edit_lines(tables / PATHS.metadata, lambda lines: [*lines, lines[3]])
    assert exclusion(tables) is None
    assert exclusion(tables, "train-metadata-row-7") == "duplicate_row"


@pytest.mark.parametrize("path", [PATHS.metadata, PATHS.reports, PATHS.labels])
def test_rows_that_contradict_each_other_exclude_the_volume(tables: Path, path: str) -> None:
    content = (tables / path).read_text(encoding="utf-8")
    rows = list(csv.reader(io.StringIO(content, newline="")))
    buffer = io.StringIO()
    csv.writer(buffer).writerows([*rows, [rows[3][0], *rows[4][1:]]])
    (tables / path).write_bytes(buffer.getvalue().encode())
    assert exclusion(tables) == "duplicate_row"
    detail = {row["key"]: row["detail"] for row in read(tables).to_pylist()}["train_3_a_1"]
    assert f"{path}: rows 4 and 7 have the same name but differ" in detail


def test_a_volume_without_text_is_excluded(tables: Path) -> None:
    edit_cell(tables / PATHS.reports, 4, "Findings_EN", "Not given.")
    edit_cell(tables / PATHS.reports, 4, "Impressions_EN", "")
    assert exclusion(tables) == "missing_report"


@pytest.mark.parametrize(
    ("path", "reason"), [(PATHS.reports, "missing_report"), (PATHS.labels, "missing_labels")]
)
def test_a_volume_that_a_table_does_not_know_is_excluded(
    tables: Path, path: str, reason: str
) -> None:
    edit_cell(tables / path, 4, "VolumeName", "train_9_a_1.nii.gz")
    assert exclusion(tables) == reason
    assert exclusion(tables, "train_9_a_1") == "missing_metadata"


def test_an_empty_label_excludes_the_volume(tables: Path) -> None:
    edit_cell(tables / PATHS.labels, 4, "Emphysema", "")
    assert exclusion(tables) == "missing_labels"


@pytest.mark.parametrize("column", ["RescaleSlope", "RescaleIntercept"])
def test_missing_rescale_values_matter_only_for_the_rule_table(tables: Path, column: str) -> None:
    edit_cell(tables / PATHS.metadata, 4, column, "")
    by_table = VolumeDatasetSpec(name="v1", source="folder", folder="/unused", hu_rule="table")
    assert exclusion(tables) is None
    assert exclusion(tables, spec=by_table) == "hu_rule_missing"


# ---- tables that cannot be read


MALFORMED = [
    (PATHS.metadata, "ZSpacing", "1.5mm", "spacing_missing"),
    (PATHS.metadata, "ZSpacing", "1_5", "spacing_missing"),
    (PATHS.metadata, "ZSpacing", "inf", "spacing_missing"),
    (PATHS.metadata, "ZSpacing", "?", "spacing_missing"),
    (PATHS.metadata, "XYSpacing", "0.75", "spacing_missing"),
    (PATHS.metadata, "XYSpacing", "[0.75]", "spacing_missing"),
    (PATHS.metadata, "XYSpacing", "[0.75, x]", "spacing_missing"),
    (PATHS.metadata, "NumberofSlices", "10.5", "bad_record"),
    (PATHS.metadata, "NumberofSlices", "99999999999999999999", "bad_record"),
    (PATHS.metadata, "RescaleSlope", "one", "hu_rule_missing"),
    (PATHS.metadata, "RescaleIntercept", "?", "hu_rule_missing"),
    (PATHS.labels, "Cardiomegaly", "yes", "bad_labels"),
    (PATHS.labels, "Cardiomegaly", "?", "bad_labels"),
    (PATHS.labels, "Cardiomegaly", "1e39", "bad_labels"),
    (PATHS.labels, "Cardiomegaly", "#N/A", "missing_labels"),
    (PATHS.metadata, "ZSpacing", "#N/A", "spacing_missing"),
]


@pytest.mark.parametrize(("path", "column", "text", "reason"), MALFORMED)
def test_a_malformed_cell_excludes_its_row_only(
    tables: Path, path: str, column: str, text: str, reason: str
) -> None:
    by_table = VolumeDatasetSpec(name="v1", source="folder", folder="/unused", hu_rule="table")
    before = read(tables, spec=by_table).to_pylist()
    edit_cell(tables / path, 5, column, text)
    after = read(tables, spec=by_table).to_pylist()
    (changed,) = [row for row, old in zip(after, before, strict=True) if row != old]
    assert changed["excluded"] == reason
    if text != "#N/A":
        assert f"{path}, row 5, column {column}: expected a" in changed["detail"]


@pytest.mark.parametrize(("path", "column", "text", "reason"), MALFORMED[:-2])
def test_a_column_of_malformed_cells_is_refused(
    tables: Path, path: str, column: str, text: str, reason: str
) -> None:
    frame = pd.read_csv(tables / path, dtype=str, keep_default_na=False)
    frame[column] = text
    frame.to_csv(tables / path, index=False)
    assert reason
    with pytest.raises(CatalogError, match=rf"{path}, row (1|2), .*{column}"):
        read(tables)


@pytest.mark.parametrize(
    ("path", "column"),
    [
        (PATHS.metadata, "VolumeName"),
        (PATHS.metadata, "ZSpacing"),
        (PATHS.reports, "Findings_EN"),
        (PATHS.labels, "VolumeName"),
    ],
)
def test_a_missing_column_is_named(tables: Path, path: str, column: str) -> None:
    edit_cell(tables / path, 1, column, "Other")
    with pytest.raises(CatalogError, match=rf"{path}, row 1, column {column}: missing"):
        read(tables)


@pytest.mark.parametrize(
    ("edit", "match"),
    [
        (lambda lines: [*lines[:3], lines[3] + ",1", *lines[4:]], "row 4, column .*got 20"),
        (lambda lines: [*lines[:3], "train_3_a_1.nii.gz,1"], "row 4, column Medical .*got 2"),
        (lambda lines: [*lines[:5], '"train_5'], "row 6 or after .line 6.: unexpected end"),
        (lambda lines: [lines[0] + ",Emphysema", *lines[1:]], "row 1, column Emphysema: .*2 times"),
        (
            lambda lines: [lines[0] + ",", *(line + ",0" for line in lines[1:])],
            "row 1, column .no name.: ",
        ),
        (lambda lines: [], "row 1: expected a header"),
    ],
)
def test_a_broken_table_is_named_by_row(
    tables: Path, edit: Callable[[list[str]], list[str]], match: str
) -> None:
    edit_lines(tables / PATHS.labels, edit)
    with pytest.raises(CatalogError, match=f"{PATHS.labels}, {match}"):
        read(tables)


def test_bytes_that_are_no_text_are_named_by_line(tables: Path) -> None:
    path = tables / PATHS.labels
    path.write_bytes(path.read_bytes().replace(b"train_2", b"train_\xff", 1))
    with pytest.raises(CatalogError, match=r"labels.csv, line 3: byte \d+ is not UTF-8"):
        read(tables)


def test_a_missing_no_chest_list_is_no_empty_one(tables: Path) -> None:
    (tables / PATHS.no_chest).unlink()
    with pytest.raises(CatalogError, match=r"no_chest_train.txt; if every volume.*empty file"):
        read(tables)


def test_a_strange_line_in_the_no_chest_list_is_named(tables: Path) -> None:
    (tables / PATHS.no_chest).write_text("train_1_a_1.nii.gz\n<html>\n", encoding="utf-8")
    with pytest.raises(CatalogError, match=r"no_chest_train.txt, row 2: .*got '<html>'"):
        read(tables)


@pytest.mark.slow
def test_50188_rows_are_read_in_seconds(tmp_path: Path) -> None:
    counts = make_ct_rate_tables(tmp_path)
    started = time.process_time()
    tables = [read_rows(TreeSource(tmp_path), SPEC, split, None) for split in counts]
    seconds = time.process_time() - started
    table = pa.concat_tables(tables)
    assert table.num_rows == 50_188
    assert table.schema.names == ROW_SCHEMA.names
    assert count_exclusions(table) == {"no_chest": 50, "spacing_missing": 100}
    # CPU seconds: about 5 on an AMD EPYC, whatever else the machine does.
    assert seconds < 15

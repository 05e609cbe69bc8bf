"""Rows of a catalog of DICOM: one per volume, one per series and reason; none names a file or a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydicom.dataset import Dataset

from medassets.errors import CatalogError
from medassets.specs import VolumeDatasetSpec
from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.volumes.catalog.columns import TEXT_COLUMNS
from medassets.volumes.catalog.dicom.figures import read_dicom_figures
from medassets.volumes.catalog.dicom.rows import make_dicom_rows
from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.catalog.tree.figures import read_figures
from medassets_tests.dicoms import PERSON, ROOT_UID, write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_all, find_stacks


def read(top: Path, previous: pa.Table | None = None, **fields: Any) -> pa.Table:
    options = {name: fields.pop(name) for name in ("table", "requires") if name in fields}
    fields = {"splits": ("train", "valid"), **fields}
    spec = VolumeDatasetSpec(name="tiny", source="dicom", folder=str(top), **fields)
    return make_dicom_rows(
        spec, find_all(top), read_tags=read_nothing, previous=previous, **options
    )


def read_nothing(_: Stack) -> Mapping[str, str | None]:
    return {}


def plan(table: pa.Table) -> pa.Table:
    """Return a catalog whose usable rows are planned."""
    partitions = [split and f"{split}-000000" for split in table["split"].to_pylist()]
    return table.append_column("partition", pa.array(partitions, pa.string()))


def scout(_: int, dataset: Dataset) -> None:
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]


def test_every_volume_and_every_reason_has_a_row(tmp_path: Path) -> None:
    write_series(tmp_path / PERSON["PatientName"], num_slices=5)
    write_series(tmp_path / PERSON["PatientName"], num_slices=2, change=scout, prefix="scout")
    write_series(tmp_path / "b", number=1, num_slices=1)
    table = read(tmp_path)
    rows = table.to_pylist()
    assert sorted(str(row["excluded"]) for row in rows) == ["None", "localizer", "too_few_slices"]
    (volume,) = [row for row in rows if row["excluded"] is None]
    assert (volume["path"], volume["num_slices"], volume["shape"]) == (
        volume["key"],
        5,
        [26, 21, 5],
    )
    assert (volume["spacing_i"], volume["spacing_j"], volume["spacing_k"]) == (12, 13, 16)
    assert (volume["rescale_slope"], volume["rescale_intercept"]) == (1, -1024)
    assert volume["patient"] is None
    figures = read_dicom_figures(table)
    assert figures is not None
    assert (figures.num_files, figures.num_series, figures.num_volumes) == (8, 2, 1)
    assert figures.files_by_reason == {"localizer": 2, "too_few_slices": 1}
    written = str(rows) + str(table.schema.metadata)
    assert not [text for text in (*PERSON.values(), ROOT_UID, "Duck") if text in written]


def test_a_split_is_kept_by_later_plans(tmp_path: Path) -> None:
    for number in range(6):
        person = {**PERSON, "PatientID": str(number)}
        write_series(tmp_path / str(number), number=number, num_slices=2, person=person)
    first = read(tmp_path, split_shares=(1, 1))
    assert read(tmp_path, plan(first), split_shares=(1, 1)) == first
    with pytest.raises(CatalogError, match="planned samples are in another split now"):
        read(tmp_path, plan(first), split_shares=(1, 1), seed=3)


def test_folders_that_name_splits_are_taken_and_others_left_out(tmp_path: Path) -> None:
    for number, name in enumerate(("train", "imagesTs", "validation")):
        person = {**PERSON, "PatientID": name}
        write_series(tmp_path / name / "x", number=number, num_slices=2, person=person)
    table = read(tmp_path)
    found = sorted((str(r["split"]), str(r["excluded"])) for r in table.to_pylist())
    assert found == [("None", "other_split"), ("train", "None"), ("valid", "None")]
    figures = read_figures(table)
    assert figures is not None
    assert (figures.split_by, dict(figures.patients)) == ("folder", {"train": 1, "valid": 1})


def test_folders_of_which_some_name_a_split_are_asked_about_by_key(tmp_path: Path) -> None:
    write_series(tmp_path / "train" / "Duck", number=0, num_slices=2)
    write_series(tmp_path / "Donald", number=1, num_slices=2)
    with pytest.raises(CatalogError, match="1 files are in a folder that names a split") as caught:
        read(tmp_path)
    assert "Du" not in str(caught.value)
    assert "Do" not in str(caught.value)
    declared = read(tmp_path, split_by="folder").to_pylist()
    assert sorted(str(row["excluded"]) for row in declared) == ["None", "missing_metadata"]


def test_volumes_without_patient_are_split_by_study(tmp_path: Path) -> None:
    def anonymous(_: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.StudyInstanceUID = "", "1.2.3"

    for number in range(8):
        write_series(tmp_path / str(number), number=number, num_slices=2, change=anonymous)
    table = read(tmp_path, split_shares=(1, 1))
    assert len(set(table["split"].to_pylist())) == 1
    figures = read_figures(table)
    assert figures is not None
    assert sum(figures.patients.values()) == 1
    assert "8 volumes state no PatientID" in figures.doubts[0]


def test_windows_have_no_columns_of_texts(tmp_path: Path) -> None:
    write_series(tmp_path / "a", num_slices=2)
    spec = VolumeDatasetSpec(name="tiny", source="dicom", folder=str(tmp_path), splits=("train",))
    table = make_dicom_rows(spec, find_all(tmp_path), read_tags=read_nothing, with_texts=False)
    assert not TEXT_COLUMNS & set(table.column_names)


def write_table(*rows: str, header: str = "uid,who,text,nodule,set,KVP_seen") -> CsvTable:
    return parse_csv("\n".join([header, *rows]).encode(), "reports.csv")


ALL = {
    "file": "uid",
    "patient": "who",
    "report": ["text"],
    "labels": ["nodule"],
    "split": "set",
    "metadata": ["KVP_seen"],
}
SECRETS = (*PERSON.values(), ROOT_UID, "Duck", "Jones")


def fill(top: Path, count: int = 4) -> None:
    for number in range(count):
        write_series(top / str(number), number=number, num_slices=2)


def uid(number: int) -> str:
    return f"{ROOT_UID}.{number}.3"


def by_series(top: Path, table: pa.Table) -> dict[int, dict[str, Any]]:
    """Return number of the series -> its row."""
    numbers = {stack.key: int(stack.slices[0].folder) for stack in find_stacks(top)}
    return {numbers[row["key"]]: row for row in table.to_pylist() if row["key"] in numbers}


def test_a_table_gives_report_labels_split_and_metadata(tmp_path: Path) -> None:
    fill(tmp_path)
    rows = [
        f"{uid(0)},Jones A,clear,0,train,120",
        f"{uid(1)},Jones B,nodule,1,val,",
        f"{uid(2)},Jones C,,,train,100",
        f"{uid(9)},Jones D,gone,1,train,100",
    ]
    table = read(tmp_path, table=write_table(*rows), columns=ALL, tags=("KVP",))
    found = by_series(tmp_path, table)
    told = {
        number: (row["report"], row["labels"], row["split"], row["excluded"], row["metadata"])
        for number, row in found.items()
    }
    assert told == {
        0: ("clear", [0.0], "train", None, '{"KVP_seen": "120"}'),
        1: ("nodule", [1.0], "valid", None, '{"KVP_seen": null}'),
        2: (None, [None], "train", None, '{"KVP_seen": "100"}'),
        3: (None, [None], None, "missing_metadata", "{}"),
    }
    assert all(row["patient"] is None for row in found.values())
    (gone,) = [row for row in table.to_pylist() if row["excluded"] == "missing_source"]
    assert gone["detail"] == "reports.csv, row 5: its cell names no volume of the tree"
    figures = read_figures(table)
    assert figures is not None
    assert figures.join is not None
    assert figures.join.describe() == (
        "reports.csv, joined by series_uid: 3 volumes have a row, 1 have none; 3 rows have a volume, 1 have none"
    )
    assert (figures.split_by, figures.patients_from) == ("column", "column")
    written = str(table.to_pylist()) + str(table.schema.metadata)
    assert not [text for text in SECRETS if text in written]


def test_what_is_required_and_missing_excludes_a_volume(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    rows = [f"{uid(0)},a,clear,0", f"{uid(1)},b,,1", f"{uid(2)},c,text,"]
    table = write_table(*rows, header="uid,who,text,nodule")
    columns = {"file": "uid", "report": ["text"], "labels": ["nodule"]}
    made = read(tmp_path, table=table, columns=columns, requires=("report", "labels"))
    found = by_series(tmp_path, made)
    assert [found[n]["excluded"] for n in range(3)] == [None, "missing_report", "missing_labels"]
    assert found[1]["detail"].startswith(found[1]["key"])


def test_patients_of_the_table_are_in_one_split_and_are_not_stored(tmp_path: Path) -> None:
    fill(tmp_path, 8)
    rows = [f"{uid(n)},Jones {n // 2}" for n in range(7)]
    table = write_table(*rows, header="uid,who")
    columns = {"file": "uid", "patient": "who"}
    made = read(tmp_path, table=table, columns=columns, split_shares=(1, 1), seed=4)
    found = by_series(tmp_path, made)
    assert found[7]["excluded"] == "missing_metadata"
    pairs = [{found[n]["split"], found[n + 1]["split"]} for n in (0, 2, 4)]
    assert all(len(splits) == 1 for splits in pairs)
    assert {found[n]["split"] for n in range(7)} == {"train", "valid"}
    assert "Jones" not in str(made.to_pylist()) + str(made.schema.metadata)


def test_a_patient_of_the_table_in_two_splits_is_refused_without_its_name(tmp_path: Path) -> None:
    fill(tmp_path, 2)
    table = write_table(f"{uid(0)},Jones,train", f"{uid(1)},Jones,valid", header="uid,who,set")
    columns = {"file": "uid", "patient": "who", "split": "set"}
    with pytest.raises(CatalogError, match="1 patients are in several splits") as caught:
        read(tmp_path, table=table, columns=columns)
    assert "Jones" not in str(caught.value)
    made = read(tmp_path, table=table, columns=columns, accept_leaks=True)
    assert sorted(made["split"].to_pylist()) == ["train", "valid"]


def test_a_cell_that_is_no_split_is_not_shown(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    table = write_table(f"{uid(0)},Jones", header="uid,who")
    made = read(tmp_path, table=table, columns={"file": "uid", "split": "who"})
    (row,) = made.to_pylist()
    assert (row["excluded"], "Jones" in row["detail"]) == ("bad_record", False)


def test_rows_that_differ_or_name_several_files_exclude_volumes(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    rows = [f"{uid(0)},a", f"{uid(0)},b", f"{uid(1)},a", f"{uid(1)},a", f"{uid(2)},a"]
    table = write_table(*rows, header="uid,text")
    made = read(tmp_path, table=table, columns={"file": "uid", "report": ["text"]})
    found = by_series(tmp_path, made)
    assert [found[n]["excluded"] for n in range(3)] == ["duplicate_row", None, None]
    assert [row["excluded"] for row in made.to_pylist()].count("duplicate_row") == 2
    assert ROOT_UID not in str(made.to_pylist())

"""Rows of a catalog of DICOM: one per volume, one per series and reason; none names a file or a person."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydicom.dataset import Dataset

from medassets.errors import CatalogError
from medassets.specs import VolumeDatasetSpec
from medassets.volumes.catalog.columns import TEXT_COLUMNS
from medassets.volumes.catalog.dicom.figures import read_dicom_figures
from medassets.volumes.catalog.dicom.rows import make_dicom_rows
from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.catalog.tree.figures import read_figures
from medassets_tests.dicoms import PERSON, ROOT_UID, write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_all


def read(top: Path, previous: pa.Table | None = None, **fields: Any) -> pa.Table:
    fields = {"splits": ("train", "valid"), **fields}
    spec = VolumeDatasetSpec(name="tiny", source="dicom", folder=str(top), **fields)
    return make_dicom_rows(spec, find_all(top), read_tags=read_nothing, previous=previous)


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

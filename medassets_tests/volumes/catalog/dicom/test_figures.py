"""Counts of a catalog of DICOM survive its file, and doubts are said."""

import pyarrow as pa

from medassets.volumes.catalog.dicom.figures import DICOM_KEY, DicomFigures, read_dicom_figures

FIGURES = DicomFigures(40, 2, 3, 2, 1, 0, 1, 2, {"localizer": 3})


def test_figures_are_read_back() -> None:
    table = pa.table({"key": ["a"]}).replace_schema_metadata({DICOM_KEY: FIGURES.encode()})
    assert read_dicom_figures(table) == FIGURES
    assert FIGURES.describe()["files_by_reason"] == {"localizer": 3}
    assert read_dicom_figures(None) is read_dicom_figures(pa.table({"key": ["a"]})) is None


def test_what_is_absent_is_a_doubt() -> None:
    series, patients = FIGURES.list_doubts()
    assert series.startswith("1 series state no SeriesInstanceUID")
    assert patients.startswith("2 volumes state no PatientID")
    assert DicomFigures(4, 0, 1, 1, 0, 0, 0, 0).list_doubts() == []

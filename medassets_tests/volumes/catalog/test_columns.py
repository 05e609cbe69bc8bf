"""Rows of the catalogs of CT as typed values."""

import pyarrow as pa
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.catalog.columns import (
    ARRAY_ROW_SCHEMA,
    CASE_ROW_SCHEMA,
    ROW_SCHEMA,
    TEXT_COLUMNS,
    WEBDATASET_ROW_SCHEMA,
    CaseRow,
    VolumeRow,
    drop_texts,
)

STATED = {
    "patient": "train_1",
    "spacing_i": 0.75,
    "spacing_j": 0.5,
    "spacing_k": 2.0,
    "rescale_slope": 1.0,
    "rescale_intercept": -1024.0,
    "report_findings": "Ø 42 mm.",
    "report": "Ø 42 mm.",
    "labels": [0.0, 1.0],
    "label_names": ["one", "two"],
    "metadata": "{}",
}


@pytest.mark.parametrize("schema", [ROW_SCHEMA, ARRAY_ROW_SCHEMA, WEBDATASET_ROW_SCHEMA])
def test_a_row_of_any_catalog_of_volumes_is_read(schema: pa.Schema) -> None:
    (row,) = pa.Table.from_pylist([STATED], schema=schema).to_pylist()
    volume = VolumeRow.of(row)
    assert volume.require_spacing() == (0.75, 0.5, 2.0)
    assert (volume.rescale_slope, volume.rescale_intercept) == (1.0, -1024.0)
    assert (volume.labels, volume.label_names) == ([0.0, 1.0], ["one", "two"])
    assert list(volume.sections) == ["clinical_information", "technique", "findings", "impressions"]
    assert volume.sections["findings"] == volume.report == "Ø 42 mm."
    assert (volume.patient, volume.scan, volume.shape) == ("train_1", None, None)
    assert volume.members == dict.fromkeys(("volume", "text", "labels", "json"))


def test_columns_of_arrays_and_members_are_read() -> None:
    stated = {"shape": [5, 7, 11], "array_dtype": "int16", "volume_member": "bin"}
    volume = VolumeRow.of(STATED | stated)
    assert (volume.shape, volume.array_dtype) == ((5, 7, 11), "int16")
    assert volume.members["volume"] == "bin"


def test_a_catalog_without_texts_is_read() -> None:
    table = drop_texts(pa.Table.from_pylist([STATED], schema=ROW_SCHEMA))
    assert not TEXT_COLUMNS.intersection(table.column_names)
    volume = VolumeRow.of(table.to_pylist()[0])
    assert (volume.report, volume.labels, volume.patient) == (None, None, "train_1")


def test_a_row_without_spacing_is_rejected() -> None:
    with pytest.raises(SampleRejectedError, match="the catalog row has no spacing") as caught:
        VolumeRow.of(STATED | {"spacing_k": None}).require_spacing()
    assert caught.value.reason is Reason.SPACING_MISSING


def test_a_case_that_lacks_files_has_no_bytes() -> None:
    (row,) = pa.Table.from_pylist([{"case": "c1"}], schema=CASE_ROW_SCHEMA).to_pylist()
    assert CaseRow.of(row) == CaseRow("c1", 0)
    assert CaseRow.of({**row, "num_bytes": 4096}).num_bytes == 4096

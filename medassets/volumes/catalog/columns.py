"""Columns of the catalogs of CT, and their rows as typed values.

Catalogs are written by the builders of this folder; everything else reads rows through these classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.formats.label_types import OWN_TYPE
from medassets.volumes.catalog.ct_tables import REPORT_SECTIONS

LABEL_NAMES_KEY = b"label_names"
"""Key of the schema metadata that holds the label names, a JSON list, in column order."""

_STRING, _FLOAT, _INT = pa.string(), pa.float64(), pa.int64()
_COMMON = tuple(
    (name, _STRING) for name in ("key", "split", "path", "revision", "excluded", "detail")
)
_ROLES = ("volume", "text", "labels", "json")

ROW_SCHEMA = pa.schema(
    [
        *_COMMON,
        *((name, _STRING) for name in ("group", "patient", "scan")),
        ("reconstruction", _INT),
        *((f"spacing_{axis}", _FLOAT) for axis in "ijk"),
        ("num_slices", _INT),
        ("rescale_slope", _FLOAT),
        ("rescale_intercept", _FLOAT),
        *((f"report_{section}", _STRING) for section in REPORT_SECTIONS),
        ("report", _STRING),
        ("labels", pa.list_(pa.float32())),
        ("label_names", pa.list_(_STRING)),
        ("metadata", _STRING),
    ]
)
"""Columns of volumes: spacing in mm, labels and label_names in the order of the labels table."""

ARRAY_ROW_SCHEMA = pa.schema(
    [
        *ROW_SCHEMA,
        ("study_id", _STRING),
        ("xy_spacing", _STRING),
        ("num_bytes", _INT),
        ("mtime_ns", _INT),
        ("shape", pa.list_(_INT)),
        ("array_dtype", _STRING),
    ]
)
"""Columns of volumes in arrays: also facts about file and array."""

WEBDATASET_ROW_SCHEMA = pa.schema(
    [
        *ARRAY_ROW_SCHEMA,
        *((f"{role}_member", _STRING) for role in _ROLES),
        ("label_type", _STRING),
        ("stored_labels", _STRING),
    ]
)
"""Columns of samples of existing WebDatasets: also the suffix of the member of each role, and their
labels: the type, null for that of our shards, and what is stored, as JSON."""

CASE_ROW_SCHEMA = pa.schema(
    [
        *_COMMON,
        ("case", _STRING),
        ("window_paths", pa.list_(_STRING)),
        ("window_bytes", pa.list_(_INT)),
        ("num_bytes", _INT),
        ("mtime_ns", _INT),
    ]
)
"""Columns of cases of existing masks: paths and sizes in the order of the declared windows."""

TEXT_COLUMNS = frozenset(
    {
        *(f"report_{section}" for section in REPORT_SECTIONS),
        *("report", "labels", "label_names", "label_type", "stored_labels"),
    }
)
"""Columns of reports and labels."""


def drop_texts(table: pa.Table) -> pa.Table:
    """Return a catalog without the columns of reports and labels.

    A report that is corrected later must not make a shard stale that never stored it.
    """
    return table.drop_columns([name for name in table.column_names if name in TEXT_COLUMNS])


@dataclass(frozen=True)
class VolumeRow:
    """One row of a catalog of volumes; what a column does not state, or a catalog lacks, is None.

    Attributes:
        study_id: Name of the study, where it is not the sample key.
        patient: Patient that the name or the sample states.
        scan: Scan that the name or the sample states.
        reconstruction: Number of the reconstruction that the name or the sample states.
        spacing_mm: Steps along the stored axes (i, j, k), in mm.
        xy_spacing: The steps of the first two axes as the source writes them.
        num_slices: Slices that the tables state.
        rescale_slope: RescaleSlope of the tables.
        rescale_intercept: RescaleIntercept of the tables, in HU.
        sections: Section of the report -> its text.
        report: Findings and impressions.
        labels: Value per label.
        label_names: Name per label.
        label_type: Type of the labels in their member; that of our shards where nothing is said.
        metadata: The other columns of the tables, as JSON.
        shape: Shape of the array.
        array_dtype: Dtype of the array.
        members: Role (volume, text, labels, json) -> suffix of its member in a WebDataset.
    """

    study_id: str | None
    patient: str | None
    scan: str | None
    reconstruction: int | None
    spacing_mm: tuple[float | None, float | None, float | None]
    xy_spacing: str | None
    num_slices: int | None
    rescale_slope: float | None
    rescale_intercept: float | None
    sections: Mapping[str, str | None] = field(repr=False)
    report: str | None = field(repr=False)
    labels: list[float] | None = field(repr=False)
    label_names: list[str] | None = field(repr=False)
    label_type: str
    metadata: str | None = field(repr=False)
    shape: tuple[int, ...] | None
    array_dtype: str | None
    members: Mapping[str, str | None]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return a row of any catalog of volumes, or what a builder knows of one so far."""
        get, shape = row.get, row.get("shape")
        return cls(
            study_id=get("study_id"),
            patient=get("patient"),
            scan=get("scan"),
            reconstruction=get("reconstruction"),
            spacing_mm=(get("spacing_i"), get("spacing_j"), get("spacing_k")),
            xy_spacing=get("xy_spacing"),
            num_slices=get("num_slices"),
            rescale_slope=get("rescale_slope"),
            rescale_intercept=get("rescale_intercept"),
            sections={section: get(f"report_{section}") for section in REPORT_SECTIONS},
            report=get("report"),
            labels=get("labels"),
            label_names=get("label_names"),
            label_type=get("label_type") or OWN_TYPE,
            metadata=get("metadata"),
            shape=tuple(shape) if shape else None,
            array_dtype=get("array_dtype"),
            members={role: get(f"{role}_member") for role in _ROLES},
        )

    def require_spacing(self) -> tuple[float, float, float]:
        """Return the steps along the stored axes, in mm.

        Raises:
            SampleRejectedError: SPACING_MISSING if one is missing.
        """
        i, j, k = self.spacing_mm
        if i is None or j is None or k is None:
            raise SampleRejectedError(Reason.SPACING_MISSING, "the catalog row has no spacing")
        return i, j, k


@dataclass(frozen=True)
class CaseRow:
    """One row of a catalog of existing masks.

    Attributes:
        case: Name of the case.
        num_bytes: Bytes of all its files; 0 where it lacks some.
    """

    case: str
    num_bytes: int

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Return a row of a catalog."""
        return cls(case=row["case"], num_bytes=int(row.get("num_bytes") or 0))

"""What is known of a tree of DICOM files as a whole, in counts: no name of a file, series or person."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import pyarrow as pa

DICOM_KEY = b"medassets.dicom"
"""Key of the schema metadata that holds the `DicomFigures` of a catalog."""


@dataclass(frozen=True)
class DicomFigures:
    """Counts of a catalog of DICOM.

    Attributes:
        num_files: DICOM files.
        num_others: Other files.
        num_series: Series.
        num_volumes: Volumes that they make.
        num_copies: Files that repeat a slice pixel by pixel.
        num_parts: Volumes that are a part of their series, such as a phase.
        no_series_uid: Series without SeriesInstanceUID.
        no_patient_id: Volumes without PatientID.
        files_by_reason: Reason -> files that are in no volume.
    """

    num_files: int
    num_others: int
    num_series: int
    num_volumes: int
    num_copies: int
    num_parts: int
    no_series_uid: int
    no_patient_id: int
    files_by_reason: Mapping[str, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return what a catalog stores."""
        return json.dumps(asdict(self)).encode()

    def describe(self) -> dict[str, Any]:
        """Return what a person sees, JSON-like."""
        return asdict(self)

    def list_doubts(self) -> list[str]:
        """Return what a person should look at."""
        doubts = []
        if self.no_series_uid:
            doubts.append(
                f"{self.no_series_uid:,} series state no SeriesInstanceUID; they are told apart by folder, "
                f"SeriesNumber and what else they state"
            )
        if self.no_patient_id:
            doubts.append(
                f"{self.no_patient_id:,} volumes state no PatientID; their split is that of their study, and "
                f"without one of their own: two of one patient may be in two splits"
            )
        return doubts


def read_dicom_figures(table: pa.Table | None) -> DicomFigures | None:
    """Return what a catalog states about its files; None if it states nothing."""
    stated = (table.schema.metadata or {}).get(DICOM_KEY) if table is not None else None
    return None if stated is None else DicomFigures(**json.loads(stated))

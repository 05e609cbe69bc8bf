"""Synthetic CT-RATE tables: 44 metadata columns, reports, predicted labels, no-chest lists."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.volumes.catalog.ct_rate import LABEL_NAMES, table_paths
from medassets.volumes.catalog.ct_tables import REPORT_SECTIONS

METADATA_COLUMNS: tuple[str, ...] = (
    "VolumeName",
    "Manufacturer",
    "SeriesDescription",
    "ManufacturerModelName",
    "PatientSex",
    "PatientAge",
    "ReconstructionDiameter",
    "DistanceSourceToDetector",
    "DistanceSourceToPatient",
    "GantryDetectorTilt",
    "TableHeight",
    "RotationDirection",
    "ExposureTime",
    "XRayTubeCurrent",
    "Exposure",
    "FilterType",
    "GeneratorPower",
    "FocalSpots",
    "ConvolutionKernel",
    "PatientPosition",
    "RevolutionTime",
    "SingleCollimationWidth",
    "TotalCollimationWidth",
    "TableSpeed",
    "TableFeedPerRotation",
    "SpiralPitchFactor",
    "DataCollectionCenterPatient",
    "ReconstructionTargetCenterPatient",
    "ExposureModulationType",
    "CTDIvol",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceLocation",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "Rows",
    "Columns",
    "XYSpacing",
    "RescaleIntercept",
    "RescaleSlope",
    "RescaleType",
    "NumberofSlices",
    "ZSpacing",
    "StudyDate",
)
"""Columns of CT-RATE's metadata tables, in their order. Source: validation_metadata.csv."""

NUM_CT_RATE_VOLUMES = 50_188
_NUM_VALID_VOLUMES = 3_039
_NOT_GIVEN = "Not given."
_PHILIPS = {
    "Manufacturer": "Philips",
    "ManufacturerModelName": "iCT 256",
    "FilterType": "YA",
    "ConvolutionKernel": "YA",
    "ExposureModulationType": "Z DOM",
    "CTDIvol": "7.830488795",
}
_SIEMENS = {
    "Manufacturer": "Siemens Healthineers",
    "ManufacturerModelName": "SOMATOM go.Top",
    "DistanceSourceToDetector": "1040",
    "FilterType": "0",
    "FocalSpots": "[0.8, 0.8]",
    "ConvolutionKernel": "['Br60f', '3']",
    "SpiralPitchFactor": "1.2",
    "DataCollectionCenterPatient": "[-0.3, -145.5, 61.25]",
    "ExposureModulationType": "XYZ_EC",
    "RescaleType": "HU",
}


@dataclass(frozen=True)
class VolumeEntry:
    """Table values of one volume.

    Attributes:
        key: Name without `.nii.gz`.
        patient_index: Number of the patient; chooses scanner, sex, age.
        scan_index: Number of the scan; chooses report and labels.
        shape: Sides (i, j, k) of the stored volume.
        spacing_mm: Steps along i, j, k; an empty text makes an empty ZSpacing.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
    """

    key: str
    patient_index: int
    scan_index: int
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float | None]
    slope: float = 1
    intercept: float = -1024


def make_ct_rate_tables(
    folder: Path,
    *,
    num_rows: int = NUM_CT_RATE_VOLUMES,
    splits: Sequence[str] = ("train", "valid"),
) -> dict[str, int]:
    """Write the tables of a repository without its volumes, for tests of scale.

    A call with more rows begins with the same rows, as if the dataset had grown.

    Args:
        folder: Root of the repository.
        num_rows: Volumes in all splits together.
        splits: The last one of several gets 6 % of the volumes, as CT-RATE's `valid` does.

    Returns:
        Rows per split. Every 1000th volume is listed as showing no chest, every 400th has no
        ZSpacing.
    """
    counts = _share_rows(num_rows, splits)
    for split, count in counts.items():
        entries = list(_iter_scale_entries(split, count))
        write_tables(folder, split=split, entries=entries, no_chest=entries[999::1000])
    return counts


def write_tables(
    folder: Path,
    *,
    split: str,
    entries: Sequence[VolumeEntry],
    no_chest: Iterable[VolumeEntry] = (),
) -> None:
    """Write the four tables of one split.

    Args:
        folder: Root of the repository.
        split: Split the entries belong to.
        entries: Volumes, in the order of the rows.
        no_chest: Volumes that the no-chest list names, with the paths of CT-RATE's version 1.
    """
    paths = table_paths(split)
    reports = ("VolumeName", *REPORT_SECTIONS.values())
    _write_csv(folder / paths.metadata, METADATA_COLUMNS, map(_metadata_cells, entries))
    _write_csv(folder / paths.reports, reports, map(_report_cells, entries))
    _write_csv(folder / paths.labels, ("VolumeName", *LABEL_NAMES), map(_label_cells, entries))
    lines = [f"dataset/{split}/{_folders(entry.key)}/{entry.key}.nii.gz\n" for entry in no_chest]
    (folder / paths.no_chest).write_text("".join(lines), encoding="utf-8", newline="\n")


def _share_rows(num_rows: int, splits: Sequence[str]) -> dict[str, int]:
    last = num_rows * _NUM_VALID_VOLUMES // NUM_CT_RATE_VOLUMES if len(splits) > 1 else num_rows
    others = num_rows - last
    counts = {
        split: others // (len(splits) - 1) + (index < others % (len(splits) - 1))
        for index, split in enumerate(splits[:-1])
    }
    return counts | {splits[-1]: last}


def _iter_scale_entries(split: str, count: int) -> Iterator[VolumeEntry]:
    # Two reconstructions a scan and a second scan of every fourth patient, roughly as CT-RATE.
    for index in range(count):
        scan_index, reconstruction = divmod(index, 2)
        patient_index, letter = divmod(scan_index, 5)
        patient = patient_index * 4 + min(letter, 3) + 1
        step_mm = 0.5 + (index % 40) / 80
        yield VolumeEntry(
            key=f"{split}_{patient}_{'b' if letter == 4 else 'a'}_{reconstruction + 1}",
            patient_index=patient,
            scan_index=scan_index,
            shape=(512, 512, 200 + index % 300),
            spacing_mm=(step_mm, step_mm, None if index % 400 == 399 else (1.0, 1.5)[index % 2]),
        )


def _folders(key: str) -> str:
    patient, scan, _ = key.rsplit("_", 2)
    return f"{patient}/{patient}_{scan}"


def _metadata_cells(entry: VolumeEntry) -> list[str]:
    step_i, step_j, step_k = entry.spacing_mm
    columns, rows, slices = entry.shape
    scanner = _PHILIPS if entry.patient_index % 2 else _SIEMENS
    corner = [-step_i * columns / 2, -step_j * rows / 2, 50.5]
    cells: Mapping[str, Any] = {
        "VolumeName": f"{entry.key}.nii.gz",
        "SeriesDescription": "HRCT",
        "PatientSex": "MF"[entry.patient_index % 2],
        "PatientAge": f"{18 + entry.patient_index * 7 % 70:03d}Y",
        "ReconstructionDiameter": f"{round(step_i * columns)}",
        "TableHeight": "71",
        "RotationDirection": "CW",
        "ExposureTime": "622",
        "XRayTubeCurrent": str(150 + entry.scan_index % 100),
        "Exposure": "116",
        "PatientPosition": "HFS",
        "ImagePositionPatient": json.dumps(corner),
        "ImageOrientationPatient": "[1, 0, 0, 0, 1, 0]",
        "SliceLocation": str(50.5 + entry.scan_index % 7),
        "SamplesPerPixel": "1",
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": str(rows),
        "Columns": str(columns),
        "XYSpacing": json.dumps([step_i, step_j]),
        "RescaleIntercept": f"{entry.intercept:g}",
        "RescaleSlope": f"{entry.slope:g}",
        "NumberofSlices": str(slices),
        "ZSpacing": "" if step_k is None else repr(step_k),
        "StudyDate": f"2021{1 + entry.scan_index % 12:02d}{1 + entry.scan_index % 28:02d}",
        **scanner,
    }
    return [cells.get(name, "") for name in METADATA_COLUMNS]


def _report_cells(entry: VolumeEntry) -> list[str]:
    index = entry.scan_index
    found = [name for name, value in zip(LABEL_NAMES, _labels(index), strict=True) if value]
    findings = f"Scan {index}: trachea and both main bronchi are open."
    if found:
        findings += f" Seen: {', '.join(found).lower()}."
    return [
        f"{entry.key}.nii.gz",
        _NOT_GIVEN if index % 3 == 0 else "Cough, fever for 5 days.",
        _NOT_GIVEN if index % 5 == 1 else 'Non-contrast, 1.5 mm, "low dose".',
        f"{findings}\nThe heart's size is normal (Ø 42 mm).",
        _NOT_GIVEN if index % 4 == 3 else f"{', '.join(found) or 'No abnormality'}.",
    ]


def _label_cells(entry: VolumeEntry) -> list[str]:
    return [f"{entry.key}.nii.gz", *map(str, _labels(entry.scan_index))]


def _labels(scan_index: int) -> list[int]:
    """Return 18 labels; neighbouring scans have different ones."""
    code = (scan_index + 1) * 40503 % (1 << len(LABEL_NAMES))
    return [(code >> bit & code >> (bit + 7) % 18) & 1 for bit in range(len(LABEL_NAMES))]


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(buffer.getvalue().encode("utf-8"))

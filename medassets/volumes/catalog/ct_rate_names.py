"""Names in the layout of CT-RATE: of tables, volumes and their parts."""

import re
from dataclasses import dataclass

from medassets.specs import CTSourceSpec

_VOLUMES_DIR = "dataset/{split}_fixed"


@dataclass(frozen=True)
class TablePaths:
    """Paths of one split's tables inside a source laid out like CT-RATE."""

    metadata: str
    reports: str
    labels: str
    no_chest: str


@dataclass(frozen=True)
class VolumeName:
    """The parts of a file name such as `train_12_a_1.nii.gz`.

    Attributes:
        key: Sample key, the name without `.nii.gz`.
        patient: `train_12`; CT-RATE counts the patients of each split from 1.
        scan: `train_12_a`; all reconstructions of a scan share report and labels.
        reconstruction: 1 for the first.
    """

    key: str
    patient: str
    scan: str
    reconstruction: int


def name_split_long(split: str) -> str:
    """Return the name of a split in CT-RATE's tables of metadata and reports."""
    return {"valid": "validation"}.get(split, split)


def table_paths(split: str) -> "TablePaths":
    """Return the paths of the tables of a split; some tables call `valid` `validation`."""
    long_name = name_split_long(split)
    return TablePaths(
        metadata=f"dataset/metadata/{long_name}_metadata.csv",
        reports=f"dataset/radiology_text_reports/{long_name}_reports.csv",
        labels=f"dataset/multi_abnormality_labels/{split}_predicted_labels.csv",
        no_chest=f"dataset/metadata/no_chest_{split}.txt",
    )


def parse_volume_name(filename: str, *, split: str) -> "VolumeName | None":
    """Parse a file name; None if it is not the name of a volume of this split."""
    pattern = rf"({re.escape(split)}_\d{{1,9}})_([a-z]{{1,9}})_(\d{{1,9}})\.nii\.gz"
    match = re.fullmatch(pattern, filename, re.ASCII)
    if match is None:
        return None
    patient, scan, reconstruction = match.groups()
    return VolumeName(
        key=filename.removesuffix(".nii.gz"),
        patient=patient,
        scan=f"{patient}_{scan}",
        reconstruction=int(reconstruction),
    )


def volumes_pattern(spec: CTSourceSpec) -> str:
    """Return the folder of one split's volumes inside a source, with `{split}`."""
    return spec.volumes_dir or _VOLUMES_DIR


def volume_path(name: "VolumeName", *, volumes_dir: str, split: str) -> str:
    """Return the path of a volume inside the source."""
    folder = volumes_dir.replace("{split}", split).rstrip("/")
    return f"{folder}/{name.patient}/{name.scan}/{name.key}.nii.gz"

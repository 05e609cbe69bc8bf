"""Lay real CT volumes out as a CT-RATE repository, for tests that run where the files are."""

import gzip
import importlib
import importlib.util
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np

from medassets.testing.ct_rate import VOLUMES_DIR, SyntheticRepository, SyntheticVolume
from medassets.testing.ct_rate_tables import VolumeEntry, write_tables
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.volumes.catalog.ct_rate import parse_volume_name, volume_path

_FILES: dict[str, tuple[str, str]] = {
    "ts_example_ct_3mm_int32.nii.gz": ("train", "train_1_a_1"),
    "lidc0003_chest_512x512x11_scl.nii.gz": ("train", "train_2_a_1"),
    "ts_example_ct_small_3mm_int16.nii.gz": ("valid", "valid_1_a_1"),
}
_DICOM_FOLDER = "ts_dicom_jpeg2000"
_DICOM_NAME = ("train", "train_3_a_1")


def lay_out_real_volumes(ct_data_folder: Path, target_folder: Path) -> SyntheticRepository:
    """Copy real volumes into a repository with CT-RATE's paths and tables.

    The files are copied byte for byte; declare the dataset with `hu_rule: header`, for one of
    them holds HU + 1024 and says so by scl_inter -1024. Spacing in the tables is that of the
    headers. The DICOM series is added only where SimpleITK, which decodes it, is installed.

    Args:
        ct_data_folder: Folder with the real files.
        target_folder: Root of the repository; made if it is missing.

    Returns:
        What was laid out; every row must become a sample.
    """
    entries: dict[str, list[VolumeEntry]] = {"train": [], "valid": []}
    volumes: list[SyntheticVolume] = []
    for filename, (split, key) in _FILES.items():
        target = _add_volume(volumes, split=split, key=key, folder=target_folder)
        shutil.copyfile(ct_data_folder / filename, target)
        entries[split].append(_read_entry(target, key, index=len(volumes)))
    dicom_folder = ct_data_folder / _DICOM_FOLDER
    if dicom_folder.is_dir() and importlib.util.find_spec("SimpleITK") is not None:
        split, key = _DICOM_NAME
        target = _add_volume(volumes, split=split, key=key, folder=target_folder)
        _convert_dicom(dicom_folder, target)
        entries[split].append(_read_entry(target, key, index=len(volumes)))
    for split, split_entries in entries.items():
        write_tables(target_folder, split=split, entries=split_entries)
    return SyntheticRepository(folder=target_folder, volumes=tuple(volumes))


def _add_volume(volumes: list[SyntheticVolume], *, split: str, key: str, folder: Path) -> Path:
    name = parse_volume_name(f"{key}.nii.gz", split=split)
    assert name is not None
    path = volume_path(name, volumes_dir=VOLUMES_DIR, split=split)
    volumes.append(SyntheticVolume(key=key, split=split, path=path, reason=None))
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _read_entry(path: Path, key: str, *, index: int) -> VolumeEntry:
    # nibabel's image blanks scl_slope and scl_inter when it loads; the bare header keeps them.
    with gzip.open(path) as stream:
        header = nib.Nifti1Header.from_fileobj(stream)
    sides = [int(side) for side in header.get_data_shape()]
    # The header holds float32; a table holds the decimal the scanner wrote.
    steps = [round(float(step), 6) for step in header.get_zooms()]
    slope, intercept = float(header["scl_slope"]), float(header["scl_inter"])
    blank = not np.isfinite(slope) or slope == 0
    return VolumeEntry(
        key=key,
        patient_index=index,
        scan_index=2 * index,
        shape=(sides[0], sides[1], sides[2]),
        spacing_mm=(steps[0], steps[1], steps[2]),
        slope=1 if blank else slope,
        intercept=0 if blank else intercept,
    )


def _convert_dicom(folder: Path, target: Path) -> None:
    # Optional package: imported by name so that the checkers do not ask for it.
    sitk = importlib.import_module("SimpleITK")
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    image = sitk.ReadImage(names)
    hu = np.ascontiguousarray(sitk.GetArrayFromImage(image).transpose(2, 1, 0)).astype(np.int16)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    # DICOM's world is LPS, NIfTI's is RAS.
    affine[:2] *= -1
    write_nifti(target, encode_nifti(hu, affine=affine))

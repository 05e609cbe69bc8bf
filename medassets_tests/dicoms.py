"""Series of DICOM files written by pydicom: oblique, every voxel its own value, people that do not exist."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from medassets.testing.phantoms import make_chest_phantom

COLUMNS, ROWS, SLICES = 26, 21, 17
SPACING = (12.0, 13.0, 16.0)
"""Steps along a row, along a column and between slices, in mm."""

PERSON = {
    "PatientName": "Duck^Donald^Fauntleroy",
    "PatientID": "7313742",
    "PatientBirthDate": "19340609",
}
ROOT_UID = "1.2.826.0.1.3680043.8.498.4242"

# A rotation of whole numbers: 3, 4, 5 about one axis, 7, 24, 25 about another.
OBLIQUE = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]) @ np.array(
    [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]
)
STRAIGHT = np.eye(3)

NATIVE = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
# Compressors of ITK, by the transfer syntax that they write.
_COMPRESSORS = {JPEG2000Lossless: "JPEG2000", JPEGLosslessSV1: "JPEG"}
WRITTEN = (*NATIVE, RLELossless, *_COMPRESSORS)
"""Transfer syntaxes that the tests can write."""

Change = Callable[[int, Dataset], None]
"""Changes the dataset of a slice before it is written, given its number from the bottom."""


@dataclass(frozen=True)
class Written:
    """A series on the disk.

    Attributes:
        paths: Files, from the bottom to the top.
        stored: Stored values, axes (column, row, slice).
        datasets: What was written.
    """

    paths: Sequence[Path]
    stored: npt.NDArray[np.int64] = field(repr=False)
    datasets: Sequence[Dataset] = field(repr=False)


def write_series(
    folder: Path,
    *,
    number: int = 0,
    num_slices: int = SLICES,
    axes: npt.NDArray[np.float64] = STRAIGHT,
    syntax: str = ExplicitVRLittleEndian,
    person: Mapping[str, str] = PERSON,
    change: Change | None = None,
    prefix: str = "",
) -> Written:
    """Write a chest phantom as a series; names of files are shuffled, and so are instance numbers.

    Args:
        folder: Where.
        number: Another number is another series, of other values.
        num_slices: Number of slices.
        axes: Columns are the directions of a row, of a column, and of the stack, in LPS.
        syntax: Transfer syntax.
        person: Elements of the patient.
        change: Changes each dataset.
        prefix: How names of files begin.
    """
    hu = make_chest_phantom((COLUMNS, ROWS, num_slices), seed=number, round_field_of_view=False)
    stored = hu.astype(np.int64) + 1024
    order = np.random.Generator(np.random.PCG64(number)).permutation(num_slices).tolist()
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    datasets: list[Dataset] = []
    for k in range(num_slices):
        dataset = make_slice(stored[:, :, k], k, number=number, axes=axes, person=person)
        dataset.InstanceNumber = order[k]
        if change is not None:
            change(k, dataset)
        path = folder / f"{prefix}{order[k]:03d}"
        save(dataset, path, syntax)
        paths.append(path)
        datasets.append(dataset)
    return Written(paths, stored, datasets)


def make_slice(
    stored: npt.NDArray[Any],
    k: int,
    *,
    number: int = 0,
    axes: npt.NDArray[np.float64] = STRAIGHT,
    person: Mapping[str, str] = PERSON,
) -> Dataset:
    """Return one slice, stored axes (column, row), with HU = stored - 1024."""
    dataset = Dataset()
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = f"{ROOT_UID}.{number}.1.{k + 1}"
    dataset.StudyInstanceUID = f"{ROOT_UID}.{number}.2"
    dataset.SeriesInstanceUID = f"{ROOT_UID}.{number}.3"
    dataset.SeriesNumber = number + 1
    dataset.Modality, dataset.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    for name, value in person.items():
        setattr(dataset, name, value)
    dataset.Rows, dataset.Columns = stored.shape[1], stored.shape[0]
    dataset.PixelSpacing = [SPACING[1], SPACING[0]]
    dataset.ImageOrientationPatient = [round(float(v), 6) for v in axes[:, :2].T.ravel()]
    position = np.array([-150.0, -140.0, 100.0]) + axes[:, 2] * (SPACING[2] * k)
    dataset.ImagePositionPatient = [round(float(v), 6) for v in position]
    dataset.SliceThickness = 3
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = np.ascontiguousarray(stored.T).astype("<u2").tobytes()
    return dataset


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> None:
    """Write a dataset with a transfer syntax, its pixels compressed if that says so."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID") or CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(dataset.get("SOPInstanceUID") or f"{ROOT_UID}.9")
    meta.TransferSyntaxUID = UID(syntax)
    written = Dataset()
    written.update(dataset)
    written.file_meta = meta
    if syntax == ExplicitVRBigEndian:
        written.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
    elif syntax == RLELossless:
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        written.compress(RLELossless, generate_instance_uid=False)
    elif syntax in _COMPRESSORS:
        written.PixelData = compress(dataset, _COMPRESSORS[UID(syntax)], path)
        written["PixelData"].is_undefined_length = True
    written.save_as(path, enforce_file_format=True)


def compress(dataset: Dataset, compressor: str, beside: Path) -> bytes:
    """Return the pixels of a dataset, compressed and encapsulated by ITK."""
    import pydicom
    import SimpleITK as sitk  # noqa: N813

    shape = (dataset.Rows, dataset.Columns)
    image = sitk.GetImageFromArray(np.frombuffer(dataset.PixelData, "<u2").reshape(shape))
    place = beside.with_name(f"{beside.name}.writing.dcm")
    writer = sitk.ImageFileWriter()
    writer.SetFileName(str(place))
    writer.SetUseCompression(True)
    writer.SetCompressor(compressor)
    writer.Execute(image)
    try:
        return pydicom.dcmread(place).PixelData
    finally:
        place.unlink()

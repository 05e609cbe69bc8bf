"""Folders of small chest phantoms as NIfTI files, each with voxels, spacing and scaling of its own."""

from collections.abc import Iterable
from pathlib import Path

from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine, make_chest_phantom

SHAPE = (26, 21, 17)
SMALL = {"target_spacing_mm": [11.0, 12.0, 18.0], "target_shape": [30, 22, 15]}
"""Fields of a declaration whose samples are small."""


def make_tree(
    folder: Path, paths: Iterable[str], *, axis_codes: str = "LPS", slope: float = 1.0
) -> Path:
    """Write a volume at each path; stored values are (HU + 1024) / slope, and the header says so.

    Args:
        folder: Where the paths begin.
        paths: Paths that end in `.nii` or `.nii.gz`.
        axis_codes: Orientation of the volumes.
        slope: `scl_slope` of the headers.
    """
    for number, path in enumerate(paths):
        hu = make_chest_phantom(SHAPE, axis_codes=axis_codes, seed=number)
        stored = ((hu.astype("f8") + 1024) / slope).round().astype("i2")
        spacing = (12.0 + number / 8, 13.0, 16.0)
        affine = make_affine(SHAPE, spacing_mm=spacing, axis_codes=axis_codes)
        write_nifti(
            folder / path,
            encode_nifti(stored, affine=affine, slope=slope, intercept=-1024.0),
        )
    return folder

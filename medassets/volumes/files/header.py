"""What is known of a stored volume before its first voxel, and how its voxels are read."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from medassets.arrays import Affine

MAX_SIDE = 16_384
"""Most voxels along one axis; a header that states more is rejected."""

MAX_VOXELS = 1 << 33
"""Most voxels of a volume; a header that states more is rejected."""


@dataclass(frozen=True)
class VolumeHeader:
    """Shape, dtype and geometry of a stored volume, in mm and in RAS+.

    Attributes:
        shape: Stored axes (i, j, k).
        dtype: Stored dtype with its byte order.
        pixdim_mm: Voxel step along axis 0, 1, 2 as the file states it; may be nonsense.
        affine: float64 (4, 4), voxel index -> mm, RAS+; may hold NaN.
        affine_from: Field of the file that the affine comes from: sform, qform or pixdim; `dicom` for position
            and orientation of slices, `directions` for those of MetaImage and NRRD.
        slope: Slope that the file states, None where it states no scaling.
        intercept: Intercept that the file states, None where `slope` is None.
        rival_codes: Axis codes of a second transform of the file that contradicts `affine`; None
            where there is none.
        stated_codes: Axis codes, such as `LPS`, that a record beside a plain array states; None where
            nothing states them, or the file has a transform of its own.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    pixdim_mm: tuple[float, float, float]
    affine: Affine = field(repr=False)
    affine_from: str
    slope: float | None
    intercept: float | None
    rival_codes: str | None = None
    stated_codes: str | None = None

    @classmethod
    def of_array(cls, shape: tuple[int, ...], dtype: np.dtype[Any]) -> "VolumeHeader":
        """Return the header of a plain array: steps of 1 mm, the identity, no scaling.

        Args:
            shape: Axes (i, j, k).
            dtype: Stored dtype with its byte order.
        """
        i, j, k = shape
        ones = (1.0, 1.0, 1.0)
        return cls((i, j, k), dtype, ones, np.eye(4), "pixdim", slope=None, intercept=None)


class VolumeStream(Protocol):
    """An open volume, read once from its first stored value to its last byte."""

    @property
    def header(self) -> VolumeHeader:
        """What the file says of the volume."""
        ...

    @property
    def fortran(self) -> bool:
        """Whether the first axis is stored fastest; otherwise the last one is."""
        ...

    def read_into(self, target: np.ndarray) -> None:
        """Read the next values as they are stored.

        Args:
            target: C-contiguous, of the header's dtype; filled whole.

        Raises:
            SampleRejectedError: If values are missing or the file is damaged.
        """
        ...

    def finish(self) -> None:
        """Read to the end and compare the checksum of the file, where it has one.

        Raises:
            SampleRejectedError: If the checksum is wrong or bytes are left.
        """
        ...

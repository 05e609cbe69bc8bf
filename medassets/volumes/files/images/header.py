"""What the header of a MetaImage or NRRD file says, whichever of both it is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np

from medassets.arrays import Affine
from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.header import MAX_SIDE, MAX_VOXELS, VolumeHeader

MOST_HEADER_BYTES = 1 << 16
"""A longer header is refused; usual ones have a few hundred bytes."""

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True)
class ImageHeader:
    """Header of an image.

    Attributes:
        volume: Shape, dtype and geometry.
        encoding: `raw`, `gzip` or `zlib`.
        data_name: Name of the file with the voxels; empty where they follow the header.
        num_bytes: Bytes of the header, where voxels follow it.
    """

    volume: VolumeHeader
    encoding: str
    data_name: str = ""
    num_bytes: int = field(default=0)


def make_volume(
    shape: Sequence[int],
    dtype: np.dtype[Any],
    *,
    spacing_mm: Sequence[float] | None,
    directions: np.ndarray | None,
    origin: Sequence[float] | None,
    to_ras: Affine = LPS_TO_RAS,
) -> VolumeHeader:
    """Return shape and geometry as a volume's header.

    Args:
        shape: Sides (i, j, k).
        dtype: Stored dtype with its byte order.
        spacing_mm: Steps along the axes; None where `directions` hold them, or nothing does.
        directions: float64 (3, 3), a column per axis: of unit length, or of the step without `spacing_mm`. None
            where the file states no orientation.
        origin: Position of the first voxel.
        to_ras: Turns the space of the file to RAS+.

    Raises:
        SampleRejectedError: BAD_HEADER if the shape is absurd.
    """
    i, j, k = shape
    if not (min(i, j, k) > 0 and max(i, j, k) <= MAX_SIDE and i * j * k <= MAX_VOXELS):
        reject(f"the header claims a shape of {i} x {j} x {k}")
    steps = [1.0, 1.0, 1.0] if spacing_mm is None else [float(step) for step in spacing_mm]
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if directions is None else directions) * np.array(steps)
    affine[:3, 3] = [0.0, 0.0, 0.0] if origin is None else origin
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    return VolumeHeader(
        shape=(i, j, k),
        dtype=dtype,
        pixdim_mm=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        affine=to_ras @ affine,
        affine_from="pixdim" if directions is None else "directions",
        slope=None,
        intercept=None,
    )


def read_numbers(name: str, text: str, count: int) -> list[float]:
    """Return the numbers of a field.

    Raises:
        SampleRejectedError: BAD_HEADER if there are not as many finite numbers.
    """
    try:
        found = [float(part) for part in text.split()]
    except ValueError:
        found = []
    if len(found) != count or not all(map(math.isfinite, found)):
        reject(f"{name}: expected {count} finite numbers, got {text[:60]!r}")
    return found


def read_sizes(name: str, text: str) -> list[int]:
    """Return three sides.

    Raises:
        SampleRejectedError: BAD_HEADER if the field does not hold three whole numbers.
    """
    parts = text.split()
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        reject(f"{name}: expected three sides, got {text[:60]!r}")
    return [int(part[:12]) for part in parts]


def check_data_name(name: str) -> str:
    """Return the name of a data file, which must be a bare name beside its header.

    Raises:
        SampleRejectedError: BAD_HEADER for a path, a list or a pattern of files.
    """
    is_bare = name not in ("", ".", "..") and not set(name) & set("/\\%\0") and name.isprintable()
    if not is_bare or name.split()[0].upper() == "LIST":
        reject("its data must be in one file beside it, given by a bare name")
    return name


def reject(detail: str) -> NoReturn:
    """Refuse an image for its header.

    Raises:
        SampleRejectedError: BAD_HEADER, always.
    """
    raise SampleRejectedError(Reason.BAD_HEADER, detail)

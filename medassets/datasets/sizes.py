"""Estimated size of a CT volume before it is read."""

import math

from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.files.header import MAX_SIDE, MAX_VOXELS

GZIP_SHARE = 0.58
"""Gzipped size of an int16 volume per byte of voxels. Source: 50 chest CTs of CT-RATE."""

_MATRIX = 512
_SLICES = 336


def count_voxels(row: VolumeRow) -> int:
    """Return the voxels of a catalog row's volume.

    Exact where the row has a `shape`; else estimated from `num_slices` and a 512 x 512 matrix. Both are
    claims: a shape that no volume may have counts as nothing, for it is rejected, and an impossible
    number of slices as the usual one.
    """
    if row.shape:
        num_voxels = math.prod(row.shape)
        return num_voxels if num_voxels <= MAX_VOXELS and max(row.shape) <= MAX_SIDE else 0
    num_slices = int(row.num_slices or 0)
    return _MATRIX * _MATRIX * (num_slices if 0 < num_slices <= MAX_SIDE else _SLICES)

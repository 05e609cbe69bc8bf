"""What a CT volume is expected to take, before it was read."""

import math

from medassets.volumes.catalog.columns import VolumeRow

GZIP_SHARE = 0.58
"""A gzipped int16 volume takes so much of its voxels' bytes. Source: 50 chest CTs of CT-RATE."""

_MATRIX = 512
_SLICES = 336


def count_voxels(row: VolumeRow) -> int:
    """Return the voxels of a catalog row's volume.

    Known where the row has a `shape`; else guessed from `num_slices` and a 512 x 512 matrix.
    """
    if row.shape:
        return math.prod(row.shape)
    return _MATRIX * _MATRIX * int(row.num_slices or _SLICES)

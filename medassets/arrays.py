"""Type aliases of arrays; axes are named in their order."""

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

BytesLike: TypeAlias = bytes | bytearray | memoryview | npt.NDArray[Any]
"""A C-contiguous buffer that can be written to a file unchanged."""

VolumeArray: TypeAlias = npt.NDArray[Any]
"""One CT volume, axes (i, j, k) as stored, any real dtype."""

Affine: TypeAlias = npt.NDArray[np.float64]
"""float64 (4, 4), voxel index (i, j, k, 1) -> mm in RAS+ world coordinates."""

FrameBatchArray: TypeAlias = npt.NDArray[np.uint8]
"""Frames of one clip, uint8, axes (t, h, w, c), c = red, green, blue."""

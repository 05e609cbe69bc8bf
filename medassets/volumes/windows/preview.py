"""Preview image of the windows of a volume: the middle slice of each window."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike
from medassets.volumes.preview import (
    LUNG_WINDOW_HU,
    MarkedSlice,
    draw_slices,
    mark_slice,
    measure_steps,
)
from medassets.volumes.windows.masks import Bits, Shape
from medassets.volumes.windows.occupancy import BLOCK_BYTES, count_blocks_of
from medassets.volumes.windows.occupancy_codec import decode_bits

MOST_PANELS = 4


def draw_windows_preview(members: Mapping[str, BytesLike]) -> bytes:
    """Draw the middle slice across the last axis of the first windows, white where voxels are inside.

    Args:
        members: Suffix -> content; `json` and the `bits` of the first `MOST_PANELS` windows.

    Returns:
        JPEG, grey.
    """
    described = json.loads(bytes(members["json"]))
    i, j, k = described["shape"]
    num_bytes = count_blocks_of((i, j, k)) * BLOCK_BYTES
    panels: list[MarkedSlice] = []
    for name, stored in list(described["windows"].items())[:MOST_PANELS]:
        bits = decode_bits(members[f"{name}.bits"], stored["encoding"], num_bytes=num_bytes)
        panels.append(_cut_middle(bits, (i, j, k), described["geometry"]))
    return draw_slices(panels, hu_per_unit=1.0)


def read_plane(bits: Bits, shape: Shape, axis: int, index: int) -> npt.NDArray[np.uint8]:
    """Return one plane of a mask without reading other voxels.

    Args:
        bits: The mask, first axis fastest.
        shape: Its sides.
        axis: Axis across the plane.
        index: Where it is cut.

    Returns:
        0 and 1, the other two axes in their order.
    """
    steps = (1, shape[0], shape[0] * shape[1])
    first, second = (other for other in range(3) if other != axis)
    rows = np.arange(shape[first], dtype=np.int64)[:, None] * steps[first]
    numbers = index * steps[axis] + rows + np.arange(shape[second], dtype=np.int64) * steps[second]
    return (bits[numbers >> 3] >> (numbers & 7).astype(np.uint8)) & np.uint8(1)


def _cut_middle(bits: Bits, shape: Shape, geometry: Mapping[str, Any] | None) -> MarkedSlice:
    """Return the middle slice across the last axis, as a trainer receives it."""
    source = geometry["source"] if geometry else {"affine": np.eye(4), "axis_codes": None}
    plane = read_plane(bits, shape, 2, shape[2] // 2)
    low, high = LUNG_WINDOW_HU
    grey = low + (high - low) * plane.astype(np.float32)
    steps = measure_steps(np.array(source["affine"], np.float64))
    return mark_slice(grey, (0, 1), steps, source["axis_codes"])

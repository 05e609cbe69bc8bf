"""A small picture of a preprocessed volume: axial, coronal and sagittal middle slices."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from PIL import Image

from medassets.arrays import Affine, BytesLike, VolumeArray
from medassets.specs import RAW

LUNG_WINDOW_HU = (-1350.0, 150.0)
"""Lung window: width 1500, level -600."""

MAX_PREVIEW_BYTES = 10_000
_PANEL_PX = 176
_GAP_PX = 4
_SMALLEST_PX = 16
_QUALITIES = (85, 75, 65, 55, 45, 35, 25)


def draw_volume_preview(
    volume: VolumeArray,
    affine: Affine,
    *,
    hu_per_unit: float = 1000.0,
    max_bytes: int = MAX_PREVIEW_BYTES,
) -> bytes:
    """Draw the middle axial, coronal and sagittal slice side by side, in a lung window.

    Every panel is shown as radiologists view it: the patient's right on the left of the picture,
    front up in the axial slice, head up in the others, face to the left in the sagittal one. All
    panels share one scale in mm, so that the chest keeps its proportions. An oblique volume is
    drawn along its own axes, each taken for the world axis it is nearest to.

    Args:
        volume: Values of a sample, shape (i, j, k): HU divided by `hu_per_unit`.
        affine: Voxel index -> mm in RAS+ of this volume: tells directions and spacing.
        hu_per_unit: What the preset divided HU by.
        max_bytes: The resolution is reduced until the picture is not larger.

    Returns:
        JPEG, grey.

    Raises:
        ValueError: If the volume does not have three axes, or the affine does not state their directions.
    """
    slices = _cut_slices(volume, affine)
    return draw_slices(slices, hu_per_unit=hu_per_unit, max_bytes=max_bytes)


def draw_slices(
    slices: "Sequence[UprightSlice]", *, hu_per_unit: float, max_bytes: int = MAX_PREVIEW_BYTES
) -> bytes:
    """Draw slices side by side, on one scale in mm, in a lung window.

    Args:
        slices: In display orientation.
        hu_per_unit: HU are values times this.
        max_bytes: The resolution is reduced until the picture is not larger.

    Returns:
        JPEG, grey.
    """
    side_px = float(_PANEL_PX)
    content = _shrink(slices, side_px=side_px, hu_per_unit=hu_per_unit, max_bytes=max_bytes)
    while len(content) > max_bytes and side_px > _SMALLEST_PX:
        side_px *= 0.8
        content = _shrink(slices, side_px=side_px, hu_per_unit=hu_per_unit, max_bytes=max_bytes)
    return content


def draw_sample_preview(members: Mapping[str, BytesLike]) -> bytes:
    """Draw the picture of a volume sample as a shard stores it.

    Args:
        members: Suffix -> content; `bin` and `json` are used.

    Returns:
        JPEG, grey.
    """
    described = json.loads(bytes(members["json"]))
    voxels = np.frombuffer(members["bin"], described["dtype"]).reshape(described["shape"])
    if described["preprocessing"]["preset"] == RAW:
        return _draw_raw_preview(voxels, described)
    affine = np.array(described["geometry"]["output"]["affine"], np.float64)
    return draw_volume_preview(voxels, affine, hu_per_unit=described["preprocessing"]["scale"])


def _draw_raw_preview(voxels: VolumeArray, described: Mapping[str, Any]) -> bytes:
    """Draw stored values: rescaled by the HU rule, upright by the file's affine.

    An array has no affine; it is drawn as most scanners store volumes, in LPS.
    """
    if (geometry := described.get("geometry")) is not None:
        affine = np.array(geometry["source"]["affine"], np.float64)
    else:
        affine = np.diag([*described["spacing_mm"], 1.0])
        affine[:2] *= -1
    slices: Sequence[UprightSlice] = _cut_slices(voxels, affine)
    if described["preprocessing"]["hu_rule"] in ("table", "header"):
        slope, intercept = described["RescaleSlope"], described["RescaleIntercept"]
        slices = [
            replace(one, values=one.values.astype(np.float32) * slope + intercept) for one in slices
        ]
    return draw_slices(slices, hu_per_unit=1.0)


def _shrink(
    slices: "Sequence[UprightSlice]", *, side_px: float, hu_per_unit: float, max_bytes: int
) -> bytes:
    """Encode with decreasing quality until the picture is small enough."""
    canvas = _compose(slices, side_px=side_px, hu_per_unit=hu_per_unit)
    content = b""
    for quality in _QUALITIES:
        content = _encode_jpeg(canvas, quality=quality)
        if len(content) <= max_bytes:
            break
    return content


def _cut_slices(
    volume: VolumeArray, affine: Affine
) -> "tuple[UprightSlice, UprightSlice, UprightSlice]":
    """Cut the middle slices as views and turn them upright; nothing of the volume is copied."""
    axes, flips = find_world_axes(affine)
    if volume.ndim != 3:
        msg = f"no picture: {volume.shape = }, expected three axes along R, A and S"
        raise ValueError(msg)
    upright = volume.transpose(axes)[tuple(flips)]
    right_mm, front_mm, up_mm = np.linalg.norm(affine[:3, :3], axis=0)[axes].tolist()
    middle = [side // 2 for side in upright.shape]
    # Rows run down, columns to the right: from R, A, S growing to the picture's directions.
    return (
        UprightSlice(upright[::-1, ::-1, middle[2]].T, row_mm=front_mm, column_mm=right_mm),
        UprightSlice(upright[::-1, middle[1], ::-1].T, row_mm=up_mm, column_mm=right_mm),
        UprightSlice(upright[middle[0], ::-1, ::-1].T, row_mm=up_mm, column_mm=front_mm),
    )


def find_world_axes(affine: Affine) -> tuple[list[int], list[slice]]:
    """Return the array axes along R, A and S, and the slices that orient them.

    Raises:
        ValueError: If the affine does not state them.
    """
    orientation = nib.orientations.io_orientation(affine)
    if np.isnan(orientation).any():
        msg = f"no picture: expected three axes along R, A and S in {affine = }"
        raise ValueError(msg)
    axes = [int(axis) for axis in np.argsort(orientation[:, 0])]
    return axes, [slice(None, None, int(orientation[axis, 1])) for axis in axes]


def _compose(
    slices: "Sequence[UprightSlice]", *, side_px: float, hu_per_unit: float
) -> Image.Image:
    """Draw all slices on one scale; the longest side of any becomes `side_px`."""
    px_per_mm = side_px / max(max(one.height_mm, one.width_mm) for one in slices)
    panels = [_draw_panel(one, px_per_mm=px_per_mm, hu_per_unit=hu_per_unit) for one in slices]
    width = sum(panel.width for panel in panels) + _GAP_PX * (len(panels) - 1)
    canvas = Image.new("L", (width, max(panel.height for panel in panels)))
    left = 0
    for panel in panels:
        canvas.paste(panel, (left, (canvas.height - panel.height) // 2))
        left += panel.width + _GAP_PX
    return canvas


def _draw_panel(one: "UprightSlice", *, px_per_mm: float, hu_per_unit: float) -> Image.Image:
    low, high = LUNG_WINDOW_HU
    hu = one.values.astype(np.float32) * np.float32(hu_per_unit)
    grey = np.clip((hu - low) * (255 / (high - low)), 0, 255).round().astype(np.uint8)
    size = (max(round(one.width_mm * px_per_mm), 1), max(round(one.height_mm * px_per_mm), 1))
    return Image.fromarray(grey).resize(size, Image.Resampling.BOX, reducing_gap=None)


def _encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class UprightSlice:
    """One upright slice: rows run down, columns to the right, as in the picture."""

    values: npt.NDArray[np.floating]
    row_mm: float
    column_mm: float

    @property
    def height_mm(self) -> float:
        return self.values.shape[0] * self.row_mm

    @property
    def width_mm(self) -> float:
        return self.values.shape[1] * self.column_mm

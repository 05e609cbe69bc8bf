"""A small picture of a volume as a trainer receives it: middle slices with marks of the body's sides."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from medassets.arrays import Affine, BytesLike, VolumeArray
from medassets.specs import RAW
from medassets.volumes.preview_marks import OPPOSITE, UNKNOWN, Marks, draw_marks

LUNG_WINDOW_HU = (-1350.0, 150.0)
"""Lung window: width 1500, level -600."""

MAX_PREVIEW_BYTES = 10_000
_PANEL_PX = 176
_GAP_PX = 4
_SMALLEST_PX = 16
_LAST_AXIS = 2
# A few bright vessels or a metal clip would leave the rest dark.
_SHOWN_PERCENTILES = (1, 99)
_QUALITIES = (85, 75, 65, 55, 45, 35, 25)


def draw_volume_preview(
    volume: VolumeArray,
    affine: Affine,
    *,
    axis_codes: str | None,
    hu_per_unit: float = 1000.0,
    window: tuple[float, float] = LUNG_WINDOW_HU,
    max_bytes: int = MAX_PREVIEW_BYTES,
) -> bytes:
    """Draw the middle slices across the last, the second and the first axis, in a window of greys.

    The array is drawn as it is, as a trainer receives it: the first of the two axes grows to the right,
    the second one down, and the last axis of the array always up. Letters at the edges of each panel
    say where the body is. An array in LPS so looks as radiologists view it, and others do not. All panels
    share one scale in mm, so that the chest keeps its proportions.

    Args:
        volume: Values of a sample, shape (i, j, k): HU, or another unit, divided by `hu_per_unit`.
        affine: Voxel index -> mm of this volume: tells the spacing.
        axis_codes: Directions in which the axes grow, such as `LPS`; None where the source does not
            state them.
        hu_per_unit: What the preset divided HU by.
        window: Values times `hu_per_unit` that are black and white.
        max_bytes: The resolution is reduced until the picture is not larger.

    Returns:
        JPEG, grey.

    Raises:
        ValueError: If the volume does not have three axes, or the affine no spacing along each.
    """
    slices = _cut_slices(volume, affine, axis_codes)
    return draw_slices(slices, hu_per_unit=hu_per_unit, window=window, max_bytes=max_bytes)


def draw_slices(
    slices: "Sequence[MarkedSlice]",
    *,
    hu_per_unit: float,
    window: tuple[float, float] = LUNG_WINDOW_HU,
    max_bytes: int = MAX_PREVIEW_BYTES,
) -> bytes:
    """Draw slices side by side, on one scale in mm, in a window of greys.

    Args:
        slices: As they are drawn.
        hu_per_unit: HU are values times this.
        window: Values times `hu_per_unit` that are black and white.
        max_bytes: The resolution is reduced until the picture is not larger.

    Returns:
        JPEG, grey.
    """
    side_px = float(_PANEL_PX)
    greys = _Greys(*window, per_unit=hu_per_unit)
    content = _shrink(slices, side_px=side_px, greys=greys, max_bytes=max_bytes)
    while len(content) > max_bytes and side_px > _SMALLEST_PX:
        side_px *= 0.8
        content = _shrink(slices, side_px=side_px, greys=greys, max_bytes=max_bytes)
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
    output = described["geometry"]["output"]
    return draw_volume_preview(
        voxels,
        np.array(output["affine"], np.float64),
        axis_codes=output["axis_codes"],
        **_choose_greys(described),
    )


def _choose_greys(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the lung window of HU with one scale, otherwise the whole range of the sample."""
    preset = described["preprocessing"]
    if (mapped := preset.get("output_range")) is not None:
        return {"hu_per_unit": 1.0, "window": tuple(mapped)}
    if (intensity := described.get("intensity")) is not None:
        return {"hu_per_unit": preset["scale"], "window": tuple(intensity["range"])}
    return {"hu_per_unit": preset["scale"]}


def _draw_raw_preview(voxels: VolumeArray, described: Mapping[str, Any]) -> bytes:
    """Draw stored values, rescaled by the HU rule; those that are not HU in the range of most of them."""
    axis_codes, affine = None, np.diag([*described["spacing_mm"], 1.0])
    if (geometry := described.get("geometry")) is not None:
        affine = np.array(geometry["source"]["affine"], np.float64)
        axis_codes = geometry["source"]["axis_codes"]
    slices: Sequence[MarkedSlice] = _cut_slices(voxels, affine, axis_codes)
    if "hu_rule" not in described["preprocessing"]:
        return draw_slices(slices, hu_per_unit=1.0, window=_find_window(slices))
    if described["preprocessing"]["hu_rule"] in ("table", "header"):
        slope, intercept = described["RescaleSlope"], described["RescaleIntercept"]
        slices = [
            replace(one, values=one.values.astype(np.float32) * slope + intercept) for one in slices
        ]
    return draw_slices(slices, hu_per_unit=1.0)


def _find_window(slices: "Sequence[MarkedSlice]") -> tuple[float, float]:
    values = np.concatenate([one.values.reshape(-1) for one in slices]).astype(np.float32)
    low, high = np.percentile(values, _SHOWN_PERCENTILES).tolist()
    return low, max(high, np.nextafter(np.float32(low), np.float32(np.inf)).item())


def _shrink(
    slices: "Sequence[MarkedSlice]", *, side_px: float, greys: "_Greys", max_bytes: int
) -> bytes:
    """Encode with decreasing quality until the picture is small enough."""
    canvas = _compose(slices, side_px=side_px, greys=greys)
    content = b""
    for quality in _QUALITIES:
        content = _encode_jpeg(canvas, quality=quality)
        if len(content) <= max_bytes:
            break
    return content


def _cut_slices(
    volume: VolumeArray, affine: Affine, axis_codes: str | None
) -> "tuple[MarkedSlice, MarkedSlice, MarkedSlice]":
    """Cut the middle slices as views; nothing of the volume is copied."""
    steps = measure_steps(affine)
    if volume.ndim != 3 or not min(steps) > 0:
        msg = f"no picture: {volume.shape = }, expected three axes, each with a step in {affine = }"
        raise ValueError(msg)
    i, j, k = (side // 2 for side in volume.shape)
    return (
        mark_slice(volume[:, :, k], (0, 1), steps, axis_codes),
        mark_slice(volume[:, j, :], (0, 2), steps, axis_codes),
        mark_slice(volume[i, :, :], (1, 2), steps, axis_codes),
    )


def measure_steps(affine: Affine) -> list[float]:
    """Return the step along each axis, in mm."""
    return np.linalg.norm(affine[:3, :3], axis=0).tolist()


def mark_slice(
    values: npt.NDArray[np.floating],
    axes: tuple[int, int],
    steps: Sequence[float],
    axis_codes: str | None,
) -> "MarkedSlice":
    """Lay a slice into the picture: its first axis to the right, the second down, the last of a volume up.

    Args:
        values: Shape of the two axes.
        axes: Numbers of these axes in the volume.
        steps: Step along each axis of the volume, in mm.
        axis_codes: Directions in which the axes of the volume grow; None where they are unknown.
    """
    across, along = axes
    right, down = (axis_codes[axis] if axis_codes else UNKNOWN for axis in axes)
    left, up = OPPOSITE[right], OPPOSITE[down]
    if along == _LAST_AXIS:
        values, down, up = values[:, ::-1], up, down
    return MarkedSlice(
        values.T,
        row_mm=steps[along],
        column_mm=steps[across],
        marks=Marks(left=left, right=right, top=up, bottom=down),
    )


def _compose(slices: "Sequence[MarkedSlice]", *, side_px: float, greys: "_Greys") -> Image.Image:
    """Draw all slices on one scale; the longest side of any becomes `side_px`."""
    px_per_mm = side_px / max(max(one.height_mm, one.width_mm) for one in slices)
    panels = [_draw_panel(one, px_per_mm=px_per_mm, greys=greys) for one in slices]
    width = sum(panel.width for panel in panels) + _GAP_PX * (len(panels) - 1)
    canvas = Image.new("L", (width, max(panel.height for panel in panels)))
    left = 0
    for panel in panels:
        canvas.paste(panel, (left, (canvas.height - panel.height) // 2))
        left += panel.width + _GAP_PX
    return canvas


def _draw_panel(one: "MarkedSlice", *, px_per_mm: float, greys: "_Greys") -> Image.Image:
    hu = one.values.astype(np.float32) * np.float32(greys.per_unit)
    grey = (
        np.clip((hu - greys.low) * (255 / (greys.high - greys.low)), 0, 255)
        .round()
        .astype(np.uint8)
    )
    size = (max(round(one.width_mm * px_per_mm), 1), max(round(one.height_mm * px_per_mm), 1))
    panel = Image.fromarray(grey).resize(size, Image.Resampling.BOX, reducing_gap=None)
    draw_marks(panel, one.marks)
    return panel


def _encode_jpeg(image: Image.Image, *, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


@dataclass(frozen=True)
class _Greys:
    """Values times `per_unit` that are black and white."""

    low: float
    high: float
    per_unit: float


@dataclass(frozen=True)
class MarkedSlice:
    """One slice as in the picture: rows run down, columns to the right.

    Attributes:
        values: Values of the voxels, shape (rows, columns).
        row_mm: Step from row to row.
        column_mm: Step from column to column.
        marks: Where the body is.
    """

    values: npt.NDArray[np.floating]
    row_mm: float
    column_mm: float
    marks: Marks

    @property
    def height_mm(self) -> float:
        return self.values.shape[0] * self.row_mm

    @property
    def width_mm(self) -> float:
        return self.values.shape[1] * self.column_mm

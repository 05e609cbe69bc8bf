"""The slices of one series stacked to volumes: repeated positions are copies, phases, or a contradiction."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.checksums import sha256_bytes
from medassets.volumes.catalog.dicom.judging import Problem
from medassets.volumes.catalog.dicom.scan import ScannedFile
from medassets.volumes.files.dicom.decoder import decode_slice
from medassets.volumes.files.dicom.geometry import (
    Axes,
    StackGeometry,
    find_axes,
    stack_slices,
)
from medassets.volumes.files.dicom.header import SliceHeader

_SAME_DIRECTION = 1e-3
_SAME_PLACE_MM = 1e-2
_PART_DIGITS = 8
# What tells phases of one series apart; the first that gives regular volumes is taken.
_TIMES = ("temporal_position", "cardiac_phase", "trigger_time")
_PARTS = ("acquisition_number", "kernel", "acquisition_time", "content_time")


@dataclass(frozen=True)
class Stack:
    """One volume of a series.

    Attributes:
        key: Key of its sample.
        slices: Files in the order of the volume.
        copies: Further files that repeat a slice, pixel by pixel.
        geometry: Where it is.
    """

    key: str
    slices: tuple[ScannedFile, ...] = field(repr=False)
    copies: tuple[ScannedFile, ...] = field(repr=False)
    geometry: StackGeometry = field(repr=False)

    @property
    def headers(self) -> list[SliceHeader]:
        """Headers of the slices."""
        return [read_header(file) for file in self.slices]


def stack_files(top: Path, key: str, files: Sequence[ScannedFile]) -> Sequence[Stack] | Problem:
    """Stack the slices of a series, or say why they make no volume.

    Args:
        top: Top of the source.
        key: Key of the series.
        files: Slices of one size and spacing.
    """
    try:
        axes = _find_common_axes([read_header(file) for file in files])
        return _stack(top, key, sorted(files, key=lambda file: file.path), axes)
    except SampleRejectedError as error:
        return error.reason, error.detail


def read_header(file: ScannedFile) -> SliceHeader:
    """Return the header of a file that has one."""
    assert file.header is not None
    return file.header


def _find_common_axes(headers: Sequence[SliceHeader]) -> Axes:
    orientations = np.array([header.orientation for header in headers])
    if np.abs(orientations - orientations[0]).max() > _SAME_DIRECTION:
        detail = "slices differ in ImageOrientationPatient"
        raise SampleRejectedError(Reason.MIXED_ORIENTATION, detail)
    # The least of all, so that it does not depend on the names of files.
    axes = find_axes(min(tuple(one) for one in orientations.tolist()))
    assert axes is not None
    return axes


def _stack(top: Path, key: str, files: Sequence[ScannedFile], axes: Axes) -> Sequence[Stack]:
    places = _group_places(files, axes)
    kept, copies = _drop_copies(top, places)
    if len(kept) == len(places):
        return [_make_stack(key, kept, copies, axes)]
    return _split(key, kept, copies, axes, num_places=len(places))


def _make_stack(
    key: str, files: Sequence[ScannedFile], copies: Sequence[ScannedFile], axes: Axes
) -> Stack:
    if len(files) < 2:
        detail = "the series has one slice, expected at least 2"
        raise SampleRejectedError(Reason.TOO_FEW_SLICES, detail)
    spacing = read_header(files[0]).pixel_spacing
    assert spacing is not None
    geometry = stack_slices(_read_positions(files), axes, pixel_spacing=spacing)
    slices = tuple(files[number] for number in geometry.order)
    return Stack(key, slices, tuple(copies), geometry)


def _read_positions(files: Iterable[ScannedFile]) -> npt.NDArray[np.float64]:
    return np.array([read_header(file).position for file in files], np.float64)


def _group_places(files: Sequence[ScannedFile], axes: Axes) -> list[list[ScannedFile]]:
    """Return the slices of each position along the normal."""
    along = _read_positions(files) @ axes.normal
    order = np.argsort(along, kind="stable")
    ends = np.flatnonzero(np.diff(along[order]) > _SAME_PLACE_MM) + 1
    return [[files[n] for n in group] for group in np.split(order, ends)]


def _drop_copies(
    top: Path, places: Sequence[Sequence[ScannedFile]]
) -> tuple[list[ScannedFile], list[ScannedFile]]:
    """Return the slices that differ, and those that repeat another pixel by pixel."""
    kept: list[ScannedFile] = []
    copies: list[ScannedFile] = []
    for place in places:
        chosen: dict[str, ScannedFile] = {}
        for file in place:
            digest = _digest_pixels(top, file) if len(place) > 1 else ""
            first = chosen.setdefault(digest, file)
            (kept if first is file else copies).append(file)
    return kept, copies


def _digest_pixels(top: Path, file: ScannedFile) -> str:
    header = read_header(file)
    stored = decode_slice(top / file.path, header)
    told = repr((header.scaling, header.position, header.words.get("padding")))
    return sha256_bytes(told.encode() + stored.tobytes())


def _split(
    key: str,
    files: Sequence[ScannedFile],
    copies: Sequence[ScannedFile],
    axes: Axes,
    *,
    num_places: int,
) -> Sequence[Stack]:
    """Split slices that repeat positions into the phases or acquisitions that they are of.

    Raises:
        SampleRejectedError: FOUR_DIMENSIONAL, SEVERAL_ACQUISITIONS or DUPLICATE_SLICE.
    """
    for name in _TIMES:
        if _is_split_by(name, files, axes):
            detail = (
                f"{len(files):,} slices at {num_places:,} positions: a series in time, by {name}"
            )
            raise SampleRejectedError(Reason.FOUR_DIMENSIONAL, detail)
    for name in _PARTS:
        if copies or not _is_split_by(name, files, axes):
            continue
        parts = _group_parts(name, files)
        return [
            _make_stack(
                f"{key}-{sha256_bytes(f'{name} {value}'.encode())[:_PART_DIGITS]}", part, (), axes
            )
            for value, part in parts.items()
        ]
    detail = f"{len(files):,} slices at {num_places:,} positions, with different pixels"
    if len(files) % num_places == 0:
        what = "several acquisitions that nothing tells apart"
        raise SampleRejectedError(Reason.SEVERAL_ACQUISITIONS, f"{detail}: {what}")
    raise SampleRejectedError(Reason.DUPLICATE_SLICE, detail)


def _group_parts(name: str, files: Sequence[ScannedFile]) -> dict[str, list[ScannedFile]]:
    parts: dict[str, list[ScannedFile]] = {}
    for file in files:
        parts.setdefault(read_header(file)[name], []).append(file)
    return dict(sorted(parts.items()))


def _is_split_by(name: str, files: Sequence[ScannedFile], axes: Axes) -> bool:
    """Tell whether the values of an element divide slices into regular volumes."""
    parts = _group_parts(name, files)
    if len(parts) < 2 or "" in parts:
        return False
    for part in parts.values():
        if any(len(place) > 1 for place in _group_places(part, axes)):
            return False
        try:
            _make_stack("", part, (), axes)
        except SampleRejectedError:
            return False
    return True

"""Headers and values of a few volumes: enough to say what they are, far from all of their bytes."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medassets.datasets.discovery.census import Clock, spread
from medassets.datasets.discovery.proposal import shorten
from medassets.errors import MedassetsError
from medassets.storage.paths import show_path
from medassets.volumes.files.header import VolumeHeader, VolumeStream
from medassets.volumes.grid.geometry import TRANSFORMS, name_axis_codes

NUM_HEADERS = 24
NUM_VOLUMES = 4

_VALUES_BYTES = 24 << 20
_PIECE_BYTES = 1 << 20

Open = Callable[[Path], AbstractContextManager[VolumeStream]]


@dataclass(frozen=True)
class VolumeLook:
    """What a look at one volume showed.

    Attributes:
        path: Its path inside the folder.
        header: Its header; None where it cannot be read.
        problem: Why not.
        low: Smallest value that was seen, scaled as the header says; None where none was read.
        high: Largest value that was seen.
    """

    path: str
    header: VolumeHeader | None = None
    problem: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def has_spacing(self) -> bool:
        """Whether the header states steps that a volume can have."""
        steps = self.header.pixdim_mm if self.header else ()
        return bool(steps) and all(math.isfinite(step) and step > 0 for step in steps)

    @property
    def codes(self) -> str | None:
        """Axis codes that the header states, such as `LPS`."""
        header = self.header
        if header is None:
            return None
        if header.affine_from not in TRANSFORMS or not np.isfinite(header.affine).all():
            return header.stated_codes
        return name_axis_codes(header.affine)


def look_at_volumes(
    top: Path, paths: Sequence[str], open_file: Open, clock: Clock
) -> list[VolumeLook]:
    """Look at some volumes: headers of up to 24, values of up to four of these.

    Args:
        top: The folder.
        paths: All volumes, inside it.
        open_file: Opens one.
        clock: No further file is opened when it is over.
    """
    chosen = spread(paths, NUM_HEADERS)
    with_values = set(spread(chosen, NUM_VOLUMES))
    # Those with values first: what a hurried look shows must hold them.
    order = [*sorted(with_values), *(path for path in chosen if path not in with_values)]
    looks: list[VolumeLook] = []
    for path in order:
        if looks and clock.is_over:
            break
        looks.append(_look(top, path, open_file, clock if path in with_values else None))
    return looks


def _look(top: Path, path: str, open_file: Open, clock: Clock | None) -> VolumeLook:
    shown = show_path(path)
    try:
        with open_file(top / path) as stream:
            low, high = _read_range(stream, clock) if clock else (None, None)
            return VolumeLook(shown, stream.header, low=low, high=high)
    except (MedassetsError, OSError) as error:
        what = getattr(error, "detail", None) or getattr(error, "strerror", None) or str(error)
        return VolumeLook(shown, problem=str(what))


def _read_range(stream: VolumeStream, clock: Clock) -> tuple[float | None, float | None]:
    """Return the extreme values of the first 24 MiB of a volume, as its header scales them."""
    header = stream.header
    left = min(math.prod(header.shape), _VALUES_BYTES // header.dtype.itemsize)
    low, high = math.inf, -math.inf
    while left > 0 and not clock.is_over:
        piece = np.empty(min(left, _PIECE_BYTES // header.dtype.itemsize), header.dtype)
        stream.read_into(piece)
        left -= piece.size
        finite = piece[np.isfinite(piece)] if piece.dtype.kind == "f" else piece
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return None, None
    slope, intercept = header.slope or 1.0, header.intercept or 0.0
    ends = sorted((low * slope + intercept, high * slope + intercept))
    return ends[0], ends[1]


def describe_looks(looks: Sequence[VolumeLook], *, have_headers: bool = True) -> list[str]:
    """Return a line per fact: shapes, spacings, orientations, types and values that were seen.

    Args:
        looks: What was seen.
        have_headers: Whether files state spacing and orientation; plain arrays do not.
    """
    read = [look for look in looks if look.header is not None]
    if not read:
        return []
    headers = [look.header for look in read if look.header is not None]
    shapes = Counter(" x ".join(map(str, header.shape)) for header in headers)
    spacings = Counter(" x ".join(f"{step:.4g}" for step in header.pixdim_mm) for header in headers)
    codes = Counter(look.codes or "none stated" for look in read)
    types = Counter(header.dtype.name for header in headers)
    lines = [f"looked at {len(looks):,} volumes: shape {_count(shapes)}, stored as {_count(types)}"]
    if have_headers:
        lines.append(f"spacing in mm {_count(spacings)}; orientation {_count(codes)}")
    values = [
        (look.low, look.high) for look in read if look.low is not None and look.high is not None
    ]
    if values:
        low, high = min(v[0] for v in values), max(v[1] for v in values)
        lines.append(f"values {low:g} to {high:g} in the first part of {len(values)} of them")
    return lines


def doubt_looks(looks: Sequence[VolumeLook], *, have_headers: bool = True) -> list[str]:
    """Return what is wrong with files that were looked at, or not certain; see `describe_looks`."""
    doubts: list[str] = []
    broken = [look for look in looks if look.problem]
    if broken:
        first = broken[0]
        doubts.append(
            f"{len(broken)} of {len(looks)} files cannot be read, such as {first.path}: {first.problem}"
        )
    if not have_headers:
        return doubts
    without = [look.path for look in looks if look.header and not look.has_spacing]
    if without:
        doubts.append(
            f"{len(without)} of {len(looks)} files state no usable spacing and will be left out: {shorten(without)}"
        )
    bare = [look.path for look in looks if look.header and look.has_spacing and not look.codes]
    if bare:
        doubts.append(f"{len(bare)} of {len(looks)} headers state no orientation: {shorten(bare)}")
    return doubts


def _count(counts: Counter[str]) -> str:
    shown = [
        value if len(counts) == 1 else f"{value} ({count})"
        for value, count in counts.most_common(3)
    ]
    more = f" and {len(counts) - 3} more" if len(counts) > 3 else ""
    return ", ".join(shown) + more

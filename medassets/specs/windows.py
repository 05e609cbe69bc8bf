"""Declarations of CT window datasets: sparse masks of voxels within ranges of HU."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_pattern
from medassets.specs.ct import CTSourceSpec

PADDING_HU = -2000.0
"""Value of the voxels that fill a volume up to its resolution; no window may hold it."""

MOST_WINDOWS = 32
_LARGEST_HU = 100_000.0
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")

WindowCompression = Literal["none", "auto"]


@dataclass(frozen=True)
class CTWindow:
    """One window: voxels with level - width / 2 <= HU <= level + width / 2, both ends included.

    Attributes:
        name: Begins the names of its members in a shard.
        width: HU from one end to the other.
        level: HU in the middle.
    """

    name: str
    width: float
    level: float

    def __post_init__(self) -> None:
        """Reject a window that cannot be stored."""
        check_pattern("windows", self.name, _NAME, "a name of up to 32 of a-z 0-9 _")
        for field in ("width", "level"):
            value = getattr(self, field)
            if not math.isfinite(value) or abs(value) > _LARGEST_HU:
                what = f"{self.name}: {field} is {value:g}, expected at most 100000 HU"
                raise SpecError(field="windows", what=what)
        if not self.width > 0:
            raise SpecError(
                field="windows", what=f"{self.name}: expected a width above 0, got {self.width:g}"
            )
        if self.low_hu <= PADDING_HU <= self.high_hu:
            # The padding is not stored: it must be outside every mask.
            what = (
                f"{self.name} reaches from {self.low_hu:g} to {self.high_hu:g} HU and so "
                f"holds {PADDING_HU:g}, the value of padding; choose one that does not"
            )
            raise SpecError(field="windows", what=what)

    @property
    def low_hu(self) -> float:
        """Least HU inside."""
        return self.level - self.width / 2

    @property
    def high_hu(self) -> float:
        """Largest HU inside."""
        return self.level + self.width / 2


STANDARD_WINDOWS: Mapping[str, CTWindow] = {
    window.name: window
    for window in (
        CTWindow("lung", 1500.0, -600.0),
        CTWindow("bone", 1500.0, 300.0),
        CTWindow("soft_tissue", 400.0, 50.0),
        CTWindow("brain", 80.0, 35.0),
    )
}
"""Name -> window, as radiologists set them."""


@dataclass(frozen=True, kw_only=True)
class CTWindowDatasetSpec(CTSourceSpec):
    """A dataset of windows of CT volumes, one bit per voxel and window.

    Attributes:
        source: A source of CT volumes, or `processed`: existing masks,
            `processed/<case>/windows/<window>_w<width>_l<level>.npy` below `folder`.
        splits: Splits, named as the source names them; `processed` has one, of any name.
        windows: Names of `STANDARD_WINDOWS`, or `{name, width, level}` in HU.
        compression: Compression of the bits: `auto` compresses masks that become much smaller and are
            fast to decompress.
    """

    windows: tuple[str | dict[str, str | float], ...] = tuple(STANDARD_WINDOWS)
    compression: WindowCompression = "auto"

    def __post_init__(self) -> None:
        """Reject values that no source can use."""
        super().__post_init__()
        check_choice("compression", self.compression, get_args(WindowCompression))
        names = [window.name for window in self.list_windows()]
        if not names or len(names) > MOST_WINDOWS or len(set(names)) < len(names):
            raise SpecError(
                field="windows", what=f"expected 1 to {MOST_WINDOWS} different names, got {names}"
            )

    def list_windows(self) -> tuple[CTWindow, ...]:
        """Return the declared windows, in order.

        Raises:
            SpecError: If one is neither a known name nor a whole definition.
        """
        if isinstance(self.windows, str):
            what = f"expected a list such as [{self.windows}], got {self.windows!r}"
            raise SpecError(field="windows", what=what)
        return tuple(_read_window(declared) for declared in self.windows)


def _read_window(declared: Any) -> CTWindow:
    if isinstance(declared, str):
        check_choice("windows", declared, tuple(STANDARD_WINDOWS))
        return STANDARD_WINDOWS[declared]
    if not isinstance(declared, Mapping) or set(declared) != {"name", "width", "level"}:
        what = f"expected a name or {{name, width, level}}, got {declared!r}"
        raise SpecError(field="windows", what=what)
    numbers = [declared["width"], declared["level"]]
    if not isinstance(declared["name"], str) or not all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in numbers
    ):
        raise SpecError(
            field="windows", what=f"expected a text and two numbers, got {dict(declared)!r}"
        )
    window = CTWindow(declared["name"], float(numbers[0]), float(numbers[1]))
    known = STANDARD_WINDOWS.get(window.name, window)
    if window != known:
        # Training code finds a standard window by its file, `lung_w1500_l-600.npy`.
        meant = f"{window.name!r} means width {known.width:g}, level {known.level:g}"
        what = f"{meant}; give a window of {window.width:g}, {window.level:g} another name"
        raise SpecError(field="windows", what=what)
    return window

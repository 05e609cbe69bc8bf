"""Rotation and mirroring of stored pictures for display."""

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
import numpy.typing as npt

PictureArray: TypeAlias = npt.NDArray[np.uint8]
"""One picture, uint8, axes (h, w, c), c = red, green, blue."""

if TYPE_CHECKING:
    from av.sidedata.sidedata import SideDataContainer
    from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Orientation:
    """How a stored picture is transformed for display.

    Attributes:
        rotation: Degrees clockwise, applied first: 0, 90, 180 or 270.
        mirrored: Whether left and right are swapped, applied second.
    """

    rotation: int = 0
    mirrored: bool = False

    @property
    def swaps_sides(self) -> bool:
        """Whether width and height are exchanged."""
        return self.rotation in (90, 270)

    def apply(self, picture: PictureArray) -> PictureArray:
        """Return a view of a stored picture as displayed."""
        # numpy turns counterclockwise.
        turned = np.rot90(picture, -(self.rotation // 90) % 4)
        return turned[:, ::-1] if self.mirrored else turned


UPRIGHT = Orientation()


def read_orientation(frame: "VideoFrame") -> Orientation:
    """Return the orientation of a decoded frame."""
    # The stub of PyAV calls it a dictionary.
    for side_data in cast("SideDataContainer", frame.side_data):
        if side_data.type.name == "DISPLAYMATRIX":
            return parse_display_matrix(bytes(side_data))
    return UPRIGHT


def parse_display_matrix(matrix: bytes) -> Orientation:
    """Return the nearest quarter turn, and mirroring, of a display matrix.

    A point (x, y), y downwards, of the stored picture is shown at (a x + c y, b x + d y).

    Args:
        matrix: Nine native int32: a b u, c d v, x y w.

    Source: ISO/IEC 14496-12, 8.2.2; libavutil/display.h.
    """
    a, b, _, c, d = struct.unpack("=9i", matrix)[:5]
    mirrored = a * d - b * c < 0
    if mirrored:
        # The rotation that remains before left and right are swapped.
        a, c = -a, -c
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(180 if a + d < 0 else 0, mirrored)
    return Orientation(90 if b - c > 0 else 270, mirrored)

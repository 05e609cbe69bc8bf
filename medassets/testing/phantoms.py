"""Chest phantoms: small synthetic chest CTs, equal on every machine."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from medassets.arrays import Affine, VolumeArray

OUTSIDE_HU = -8192
"""Value that CT-RATE stores outside the scanner's field of view."""

_AXIS_OF_CODE = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}

# (centre, half axes) as shares of half the field of view in R, A, S; HU; painted in this order.
# Left and right, front and back, top and bottom all differ, so that no flip goes unseen.
_Ellipsoid = tuple[tuple[float, float, float], tuple[float, float, float], int]
_ORGANS: tuple[_Ellipsoid, ...] = (
    ((0.00, 0.00, 0.00), (0.90, 0.68, 9.00), 40),  # body
    ((0.00, 0.00, 0.00), (0.84, 0.62, 9.00), -90),  # fat under the skin
    ((0.00, 0.00, 0.00), (0.80, 0.58, 9.00), 50),  # muscle
    ((0.42, 0.02, 0.10), (0.30, 0.44, 0.85), -850),  # right lung
    ((-0.42, 0.02, 0.10), (0.28, 0.44, 0.80), -850),  # left lung
    ((0.45, 0.05, -0.95), (0.36, 0.46, 0.55), 60),  # liver, right and low
    ((-0.16, 0.14, -0.15), (0.26, 0.24, 0.36), 45),  # heart, to the left and in front
    ((-0.05, 0.06, 0.55), (0.07, 0.07, 0.35), 150),  # aorta
    ((0.00, 0.02, 0.70), (0.05, 0.05, 0.35), -980),  # trachea
    ((0.00, -0.42, 0.00), (0.12, 0.11, 9.00), 350),  # spine, behind
    ((0.00, -0.36, 0.00), (0.04, 0.03, 9.00), 25),  # spinal canal
    ((0.00, 0.56, 0.15), (0.06, 0.03, 0.50), 500),  # breastbone, in front
    ((0.50, 0.10, 0.45), (0.05, 0.05, 0.08), 120),  # nodule in the right lung
)


def make_chest_phantom(
    shape: tuple[int, int, int],
    *,
    axis_codes: str = "LPS",
    seed: int = 0,
    round_field_of_view: bool = True,
) -> VolumeArray:
    """Make a chest in HU: body, lungs, heart, liver, spine, breastbone and a nodule.

    The chest fills the volume whatever its shape. It is built of sums and products only, no
    sines or roots, so that every machine computes the same voxels.

    Args:
        shape: Sides (i, j, k).
        axis_codes: Direction in which each axis grows, such as `LPS` or `RAS`.
        seed: Changes noise and, by a few percent, the size of the organs.
        round_field_of_view: Put `OUTSIDE_HU` outside the cylinder that touches the sides.

    Returns:
        HU, shape (i, j, k), int16, C order.
    """
    right, front, up = _world_axes(shape, axis_codes)
    rng = np.random.Generator(np.random.PCG64(seed))
    growth = 1 + rng.integers(-4, 5, size=len(_ORGANS)) / 100
    volume = np.full(shape, -1000, np.int16)
    for (centre, half_axes, hu), factor in zip(_ORGANS, growth.tolist(), strict=True):
        distance = sum(
            ((axis - middle) / (half * factor)) ** 2
            for axis, middle, half in zip((right, front, up), centre, half_axes, strict=True)
        )
        volume[np.broadcast_to(distance <= 1, shape)] = hu
    volume += rng.integers(-12, 13, size=shape, dtype=np.int16)
    if round_field_of_view:
        volume[np.broadcast_to(right**2 + front**2 > 1, shape)] = OUTSIDE_HU
    return volume


def make_affine(
    shape: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    axis_codes: str = "LPS",
    oblique: bool = False,
) -> Affine:
    """Make the affine of a volume whose middle voxel is near the world origin.

    Args:
        shape: Sides (i, j, k).
        spacing_mm: Steps along i, j, k.
        axis_codes: Direction in which each axis grows.
        oblique: Tilt the volume as a scanner's gantry does: tan(angle) = 7/24, about 16 degrees,
            around the patient's left-right axis.

    Returns:
        Affine (4, 4), voxel index -> mm in RAS+.
    """
    affine = np.eye(4)
    directions = np.zeros((3, 3))
    for column, code in enumerate(axis_codes):
        axis, sign = _AXIS_OF_CODE[code]
        directions[axis, column] = sign
    if oblique:
        # 7, 24, 25 is a Pythagorean triple: an exact rotation without sines.
        directions = np.array([[1, 0, 0], [0, 0.96, -0.28], [0, 0.28, 0.96]]) @ directions
    affine[:3, :3] = directions * np.asarray(spacing_mm, np.float64)
    affine[:3, 3] = -affine[:3, :3] @ (np.asarray(shape, np.float64) - 1) / 2
    return affine


def _world_axes(shape: Sequence[int], axis_codes: str) -> list[npt.NDArray[np.float64]]:
    """Return the coordinates R, A and S in [-1, 1], each shaped to broadcast over the volume."""
    axes: list[npt.NDArray[np.float64]] = [np.zeros(1)] * 3
    for index, code in enumerate(axis_codes):
        axis, sign = _AXIS_OF_CODE[code]
        side = shape[index]
        steps = sign * ((2 * np.arange(side, dtype=np.float64) + 1) / side - 1)
        axes[axis] = steps.reshape([-1 if other == index else 1 for other in range(3)])
    return axes

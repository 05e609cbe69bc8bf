"""What a CT volume is expected to take, before it was read."""

from typing import Any

import pytest

from medassets.datasets.sizes import count_voxels
from medassets.volumes.catalog.columns import VolumeRow


@pytest.mark.parametrize(
    ("row", "num_voxels"),
    [
        ({"shape": [5, 7, 11], "num_slices": 100}, 5 * 7 * 11),
        ({"shape": None, "num_slices": 100}, 512 * 512 * 100),
        ({"shape": [], "num_slices": 7}, 512 * 512 * 7),
        ({"num_slices": None}, 512 * 512 * 336),
        ({}, 512 * 512 * 336),
        ({"shape": [2_000_000_000] * 3}, 0),
        ({"shape": [20_000, 5, 7]}, 0),
        ({"num_slices": 10**15}, 512 * 512 * 336),
        ({"num_slices": -7}, 512 * 512 * 336),
    ],
)
def test_voxels_are_those_of_the_shape_else_of_the_slices(
    row: dict[str, Any], num_voxels: int
) -> None:
    assert count_voxels(VolumeRow.of(row)) == num_voxels

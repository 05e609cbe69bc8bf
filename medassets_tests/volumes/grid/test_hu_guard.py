"""What the HU guard lets through: real scans stored right, and none of the ways to store them wrong."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.specs import CHEST_AIR_SHARE
from medassets.testing.phantoms import make_chest_phantom
from medassets.volumes.grid.hu import HuScaling
from medassets.volumes.grid.hu_guard import (
    VoxelCounter,
    VoxelStatistics,
    check_statistics,
    collect_shares,
)
from medassets_tests.shared_data import CT

AS_STORED = HuScaling("none", 1.0, 0.0)
FILES = (
    "ts_example_ct_3mm_int32.nii.gz",
    "ts_example_ct_small_3mm_int16.nii.gz",
    "lidc0003_chest_512x512x11_scl.nii.gz",
)
RIGHT = VoxelStatistics(
    num_voxels=100,
    num_plausible=50,
    num_air=45,
    num_inner_air=45,
    num_dark_air=30,
    num_beyond=0,
    num_not_finite=0,
    is_constant=False,
)

Store = Callable[[np.ndarray], np.ndarray]

WRONG_WAYS: dict[str, Store] = {
    "never applied": lambda hu: (hu + 1024).astype(np.int16),
    "applied twice": lambda hu: (hu - 1024).astype(np.int16),
    "wrapped": lambda hu: hu.astype(np.int16).view(np.uint16),
    "wrapped and widened": lambda hu: hu.astype(np.int16).view(np.uint16).astype(np.int32),
    "half the slope": lambda hu: (hu // 2).astype(np.int16),
    "half the slope of stored values": lambda hu: ((hu + 1024) / 2 - 1024).astype(np.float32),
    "one and a half times the slope": lambda hu: (hu * 1.5).astype(np.float32),
    "twice the slope": lambda hu: (hu * 2).astype(np.int32),
    "other sign": lambda hu: (-hu).astype(np.int16),
    "clipped at 0": lambda hu: np.maximum(hu, 0).astype(np.int16),
    "offset 1000": lambda hu: (hu + 1000).astype(np.int16),
    "12 bits, clipped": lambda hu: np.clip(hu + 1024, 0, 4095).astype(np.uint16),
    "12 bits, wrapped": lambda hu: (hu.astype(np.int16) & 0xFFF).astype(np.uint16),
    "12 bits, at the top of 16": lambda hu: (np.clip(hu + 1024, 0, 4095) * 16).astype(np.uint16),
    "scaled to 8 bits": lambda hu: np.clip((hu + 1024) / 16, 0, 255).astype(np.uint8),
    "scaled to 0..1": lambda hu: (np.clip(hu + 1000, 0, 2000) / 2000).astype(np.float32),
}
RIGHT_WAYS: dict[str, tuple[Store, HuScaling]] = {
    "int16": (lambda hu: hu.astype(np.int16), AS_STORED),
    "float64": (lambda hu: hu.astype(np.float64), AS_STORED),
    "uint16 with intercept": (
        lambda hu: np.maximum(hu + 2048, 0).astype(np.uint16),
        HuScaling("header", 1.0, -2048.0),
    ),
    "half steps": (lambda hu: (hu * 2).astype(np.int32), HuScaling("header", 0.5, 0.0)),
    "other sign, and slope -1": (lambda hu: (-hu).astype(np.int16), HuScaling("header", -1.0, 0.0)),
    "12 bits, clipped above": (
        lambda hu: np.clip(hu + 1024, 0, 4095).astype(np.int16),
        HuScaling("table", 1.0, -1024.0),
    ),
}


def measure(stored: np.ndarray, scaling: HuScaling = AS_STORED) -> VoxelStatistics:
    counter = VoxelCounter(scaling, stored.dtype)
    for k in range(stored.shape[2]):
        counter.add(np.ascontiguousarray(stored[:, :, k].T))
    return counter.statistics()


def judge(statistics: VoxelStatistics, air_share: tuple[float, float] = CHEST_AIR_SHARE) -> None:
    check_statistics(
        statistics, min_plausible_share=0.05, max_plausible_share=0.98, air_share=air_share
    )


@pytest.fixture(scope="module", params=[*FILES, "phantom", "phantom without padding"])
def hu(request: pytest.FixtureRequest) -> np.ndarray:
    """HU of a chest, int64."""
    if request.param.startswith("phantom"):
        return make_chest_phantom(
            (60, 50, 40), seed=4, round_field_of_view=request.param == "phantom"
        ).astype(np.int64)
    path = CT / request.param
    if not path.is_file():
        pytest.skip(f"needs the real scan {path}")
    image: Any = nib.Nifti1Image.from_filename(path)
    return np.asarray(image.dataobj).astype(np.int64)


@pytest.mark.parametrize("way", WRONG_WAYS)
def test_a_chest_stored_in_a_wrong_way_is_refused(hu: np.ndarray, way: str) -> None:
    with pytest.raises(SampleRejectedError, match="hu_implausible"):
        judge(measure(WRONG_WAYS[way](hu)))


@pytest.mark.parametrize("padding", [-1000, -1024])
@pytest.mark.parametrize("where", ["front", "end", "far side", "background"])
@pytest.mark.parametrize("way", ["never applied", "offset 1000", "clipped at 0", "other sign"])
def test_padding_that_looks_like_air_hides_no_wrong_way(
    hu: np.ndarray, way: str, where: str, padding: int
) -> None:
    stored = WRONG_WAYS[way](hu)
    if where == "background":
        stored[:, : hu.shape[1] // 3] = padding
    else:
        widths = {
            "front": ((0, 0), (0, 0), (30, 0)),
            "end": ((0, 0), (0, 0), (0, 30)),
            "far side": ((0, 0), (0, hu.shape[1] // 2), (0, 0)),
        }
        stored = np.pad(stored, widths[where], constant_values=padding)
    with pytest.raises(SampleRejectedError, match="hu_implausible"):
        judge(measure(stored))


@pytest.mark.parametrize("way", RIGHT_WAYS)
def test_a_chest_stored_right_and_padded_is_accepted(hu: np.ndarray, way: str) -> None:
    store, scaling = RIGHT_WAYS[way]
    padded = np.pad(
        hu, [(0, 0), (0, hu.shape[1] // 3), (0, hu.shape[2] // 3)], constant_values=-1000
    )
    judge(measure(store(padded), scaling))


@pytest.mark.parametrize("way", RIGHT_WAYS)
def test_a_chest_stored_right_is_accepted(hu: np.ndarray, way: str) -> None:
    store, scaling = RIGHT_WAYS[way]
    judge(measure(store(hu), scaling))


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.float32, np.float64])
def test_shares_are_those_that_numpy_finds(hu: np.ndarray, dtype: Any) -> None:
    changes = np.diff(hu, axis=0, prepend=hu[:1]) != 0
    assert collect_shares(measure(hu.astype(dtype))) == {
        "plausible_share": ((hu >= -200) & (hu <= 300)).mean(),
        "air_share": (hu < -200).mean(),
        "dark_air_share": ((hu >= -1100) & (hu < -700) & changes).mean(),
    }


def test_values_of_int16_read_as_unsigned_are_named(hu: np.ndarray) -> None:
    with pytest.raises(SampleRejectedError, match="int16 read as unsigned, which adds 65536"):
        judge(measure(hu.astype(np.int16).view(np.uint16)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"num_plausible": 4}, r"0\.0400 of the voxels are within"),
        ({"num_plausible": 99}, r"0\.9900 of the voxels are within"),
        ({"num_air": 9}, r"0\.0900 of the voxels are below -200 HU, expected 0\.1 to 0\.95"),
        ({"num_air": 96}, r"0\.9600 of the voxels are below"),
        ({"num_dark_air": 0}, "0.0000 of the voxels are air and lung"),
        ({"num_beyond": 2}, "0.0200 of the voxels are above 32767 HU"),
    ],
    ids=str,
)
def test_the_guard_refuses_what_is_beyond_its_limits(changes: dict[str, int], match: str) -> None:
    with pytest.raises(SampleRejectedError, match=match) as caught:
        judge(replace(RIGHT, **changes))
    assert caught.value.reason is Reason.HU_IMPLAUSIBLE


@pytest.mark.parametrize(
    "changes",
    [
        *({"num_plausible": number} for number in (5, 98)),
        *({"num_air": number} for number in (10, 95)),
        *({"num_inner_air": 10, "num_dark_air": 2}, {"num_beyond": 1}),
    ],
    ids=str,
)
def test_the_guard_accepts_its_limits(changes: dict[str, int]) -> None:
    judge(replace(RIGHT, **changes))


def test_a_body_part_without_air_declares_so() -> None:
    statistics = replace(RIGHT, num_air=2, num_dark_air=0)
    judge(statistics, (0.0, 0.5))
    with pytest.raises(SampleRejectedError, match="declare expected_air_share"):
        judge(statistics)
    # Unsigned values are wrong in every body part.
    with pytest.raises(SampleRejectedError, match="int16 read as unsigned"):
        judge(replace(statistics, num_beyond=2), (0.0, 0.5))


def test_volumes_that_are_constant_or_not_finite_are_named_first() -> None:
    with pytest.raises(SampleRejectedError, match="all voxels have the same value"):
        judge(measure(np.zeros((5, 7, 11), np.int16)))
    broken = np.full((5, 7, 11), np.nan, np.float32)
    with pytest.raises(SampleRejectedError, match="385 of 385 voxels are not finite"):
        judge(measure(broken))

"""Volumes with one defect each, as found in public datasets, and the expected outcome."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from medassets.arrays import Affine, VolumeArray
from medassets.errors import Reason
from medassets.testing.ct_rate import SpecialVolume
from medassets.testing.nifti import compress, encode_nifti
from medassets.testing.phantoms import make_affine


def _encode(hu: np.ndarray, affine: Affine, **options: Any) -> bytes:
    return compress(encode_nifti(hu, affine=affine, **options))


def _truncate(hu: VolumeArray, affine: Affine) -> bytes:
    content = _encode(hu, affine)
    return content[: len(content) * 2 // 3]


def _flip_bit(hu: VolumeArray, affine: Affine) -> bytes:
    content = bytearray(_encode(hu, affine))
    content[len(content) * 3 // 4] ^= 0x10
    return bytes(content)


def _claim_absurd_shape(hu: VolumeArray, affine: Affine) -> bytes:
    return _encode(hu, affine, header_changes={"dim": [3, 30000, 30000, 30000, 1, 1, 1, 1]})


def _lose_spacing(hu: VolumeArray, affine: Affine) -> bytes:
    nowhere = np.full(4, np.nan)
    changes = {
        "pixdim": [1, np.nan, np.nan, np.nan, 0, 0, 0, 0],
        "srow_x": nowhere,
        "srow_y": nowhere,
        "srow_z": nowhere,
    }
    return _encode(hu, affine, header_changes=changes)


def _rescale_twice(hu: VolumeArray, affine: Affine) -> bytes:
    return _encode((hu.astype(np.int32) - 1024).clip(-32768).astype(np.int16), affine)


def _stack_two(hu: VolumeArray, affine: Affine) -> bytes:
    return _encode(np.stack([hu, hu], axis=-1), affine)


def _tilt(hu: VolumeArray, affine: Affine) -> bytes:
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return _encode(hu, make_affine(hu.shape, spacing_mm=spacing_mm, oblique=True))


BAD_VOLUMES: Mapping[str, SpecialVolume] = {
    "truncated_gzip": SpecialVolume(_truncate, Reason.CORRUPT_GZIP),
    "flipped_bit": SpecialVolume(_flip_bit, Reason.CORRUPT_GZIP),
    "absurd_shape": SpecialVolume(_claim_absurd_shape, Reason.BAD_HEADER),
    "nan_spacing": SpecialVolume(_lose_spacing, Reason.SPACING_MISSING),
    "constant": SpecialVolume(
        lambda hu, a: _encode(np.full_like(hu, 40), a), Reason.CONSTANT_VOLUME
    ),
    "rescaled_twice": SpecialVolume(_rescale_twice, Reason.HU_IMPLAUSIBLE),
    "four_dimensions": SpecialVolume(_stack_two, Reason.BAD_HEADER),
    "one_slice": SpecialVolume(lambda hu, a: _encode(hu[:, :, :1], a), Reason.TOO_FEW_SLICES),
    "big_endian": SpecialVolume(lambda hu, a: _encode(hu, a, big_endian=True), None),
    "float64": SpecialVolume(lambda hu, a: _encode(hu.astype(np.float64), a), None),
    "int32": SpecialVolume(lambda hu, a: _encode(hu.astype(np.int32), a), None),
    "oblique": SpecialVolume(_tilt, None),
}
"""Defects by name."""


def pick_bad_volumes(*names: str) -> tuple[SpecialVolume, ...]:
    """Return defects by name, for `make_ct_rate_repository`."""
    return tuple(BAD_VOLUMES[name] for name in names)

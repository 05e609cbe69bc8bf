"""Widening of float16 against numpy, value by value."""

from functools import partial
from pathlib import Path

import numpy as np

from medassets.loaders import VolumeDataset
from medassets.loaders.arrays import TILE_BYTES
from medassets.loaders.widen_kernel import widen_half
from medassets_tests.small_shards import (
    make_shards,
    make_volume,
    make_volume_members,
)


def test_every_half_is_widened_exactly(tmp_path: Path) -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    out = np.empty(1 << 16, np.float32)
    widen_half(values, out)
    np.testing.assert_array_equal(out, values.astype(np.float32))
    # More than one tile, and a rest.
    shape = (64, 64, (TILE_BYTES >> 12) + 3)
    manifest = make_shards(tmp_path, [2], partial(make_volume_members, shape=shape))
    batch = VolumeDataset(manifest, dtype="float32", check="always").__getitems__([1, 0])
    for sample, number in zip(batch, (1, 0), strict=True):
        expected = make_volume(number, shape).astype(np.float32).transpose(2, 0, 1)[None]
        np.testing.assert_array_equal(sample["volume"].numpy(), expected)

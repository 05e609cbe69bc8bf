"""Volumes in the order of their shards."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from medassets.loaders import VolumeStream
from medassets_tests.loaders.contract import NUM_SAMPLES, StreamContract
from medassets_tests.small_shards import make_shards, make_volume_members


class TestVolumeStream(StreamContract):
    def write(self, folder: Path) -> Path:
        return make_shards(folder, (3, 2), partial(make_volume_members, shape=(5, 7, 11)))

    def open(self, source: Any, **arguments: Any) -> VolumeStream:
        return VolumeStream(source, **arguments)

    @pytest.mark.parametrize(("uneven", "expected"), [("pad", 3), ("drop", 2)])
    def test_every_rank_gets_the_same_number_of_samples(
        self, source: Any, uneven: Any, expected: int
    ) -> None:
        streams = [self.open(source, rank=rank, world_size=2, uneven=uneven) for rank in range(2)]
        keys = [[sample["key"] for sample in stream] for stream in streams]
        assert [len(one) for one in keys] == [len(stream) for stream in streams] == [expected] * 2
        assert len({key for one in keys for key in one}) == min(2 * expected, NUM_SAMPLES)

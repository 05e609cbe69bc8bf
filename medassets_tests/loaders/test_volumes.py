"""Volumes as a training script sees them, against tarfile and numpy."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medassets.loaders import VolumeDataset, VolumeStream
from medassets_tests.loaders.conftest import COUNTS, SHAPE
from medassets_tests.loaders.contract import DatasetContract
from medassets_tests.loaders.reading import read_volume
from medassets_tests.small_shards import (
    make_findings,
    make_labels,
    make_shards,
    make_volume,
    make_volume_members,
)

NUM_SAMPLES = sum(COUNTS)


class TestVolumeDataset(DatasetContract):
    def write(self, folder: Path) -> Path:
        return make_shards(folder, (3, 2), partial(make_volume_members, shape=SHAPE))

    def open(self, source: Any, **arguments: Any) -> VolumeDataset:
        return VolumeDataset(source, **arguments)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_volume_comes_back_whatever_the_order(split: Path, dtype: str) -> None:
    volumes = VolumeDataset(split, dtype=dtype)  # pyright: ignore[reportArgumentType]
    assert len(volumes) == NUM_SAMPLES
    for number in (5, 0, 7, 3, 1, -1):
        sample, actual = volumes[number], number % NUM_SAMPLES
        expected = read_volume(split.parent, actual)
        assert sample["volume"].shape == (1, SHAPE[2], SHAPE[0], SHAPE[1])
        assert sample["volume"].dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(sample["volume"].numpy(), expected.astype(dtype))
        assert sample["report"] == f"report {actual}: ground-glass, 3 µm"
        np.testing.assert_array_equal(sample["labels"].numpy(), make_labels(actual))
        assert sample["study_id"] == f"study_{actual}"
        assert sample["key"] == f"sample_{actual}"
    assert volumes.sample_bytes == np.prod(SHAPE) * np.dtype(dtype).itemsize
    with pytest.raises(IndexError, match="sample 8 of 8"):
        volumes[8]


def test_the_volume_is_a_view_of_what_is_stored(split: Path) -> None:
    volume = VolumeDataset(split)[0]["volume"]
    assert volume[0].stride() == (1, SHAPE[1] * SHAPE[2], SHAPE[2])


def test_shards_of_the_public_trainer_are_read(trainer_shards: Path) -> None:
    source = f"{trainer_shards}/shard-{{000000..000002}}.tar"
    volumes = VolumeDataset(source, dtype="float32")
    assert [volumes[n]["study_id"] for n in range(8)] == [f"study_{n}" for n in range(8)]
    sample = volumes[6]
    expected = make_volume(6, SHAPE).astype(np.float32).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(sample["volume"].numpy(), expected)
    np.testing.assert_array_equal(sample["labels"].numpy(), make_findings(6))
    assert sample["report"] == "findings 6 impressions"


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("uneven", ["pad", "drop"])
def test_a_stream_reads_equal_stretches(
    split: Path, num_workers: int, world_size: int, uneven: Any
) -> None:
    seen: list[str] = []
    for rank in range(world_size):
        stream = VolumeStream(split, rank=rank, world_size=world_size, uneven=uneven)
        loader = DataLoader(
            stream, batch_size=2, num_workers=num_workers, collate_fn=stream.collate_fn
        )
        keys = [key for batch in loader for key in batch["key"]]
        assert len(keys) == len(stream)
        if not num_workers:
            numbers = [int(key.removeprefix("sample_")) for key in keys]
            assert numbers == [(numbers[0] + n) % NUM_SAMPLES for n in range(len(numbers))]
        seen += keys
    extra = len(seen) - len(set(seen))
    if uneven == "pad":
        assert len(set(seen)) == NUM_SAMPLES
        assert extra == -NUM_SAMPLES % world_size
    else:
        assert extra == 0
        assert len(seen) == NUM_SAMPLES - NUM_SAMPLES % world_size

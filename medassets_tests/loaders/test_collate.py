"""Batches of samples: without a copy where they were read together."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, default_collate

from medassets.loaders import VolumeDataset
from medassets.loaders.collate import StackedSamples
from medassets_tests.loaders.conftest import SHAPE
from medassets_tests.loaders.reading import read_volume
from medassets_tests.small_shards import (
    make_shards,
    make_volume_members,
)


def test_a_batch_is_read_once_and_never_copied(split: Path) -> None:
    volumes = VolumeDataset(split, dtype="float32")
    samples = volumes.__getitems__([6, 2, 2])
    batch = volumes.collate_fn(samples)
    assert batch["volume"].shape == (3, 1, SHAPE[2], SHAPE[0], SHAPE[1])
    assert batch["volume"].data_ptr() == samples[0]["volume"].data_ptr()
    assert batch["labels"].shape == (3, 18)
    assert batch["study_id"] == ["study_6", "study_2", "study_2"]
    plain = volumes.collate_fn([volumes[n] for n in (6, 2, 2)])
    reference = default_collate([volumes[n] for n in (6, 2, 2)])
    for other in (plain, reference):
        assert torch.equal(other["volume"], batch["volume"])
        assert other["report"] == batch["report"]
    assert plain["volume"][:, 0].stride() == batch["volume"][:, 0].stride()


def test_a_list_that_was_changed_is_no_batch_any_more(split: Path) -> None:
    volumes = VolumeDataset(split)
    samples = volumes.__getitems__([0, 1, 2])
    samples.reverse()
    assert isinstance(samples, StackedSamples)
    batch = volumes.collate_fn(samples)
    assert batch["key"] == ["sample_2", "sample_1", "sample_0"]
    assert torch.equal(batch["volume"][0], volumes[2]["volume"])


def test_volumes_of_different_shapes_make_no_batch(tmp_path: Path) -> None:
    shapes = [(3, 4, 5), (3, 4, 6)]
    manifest = make_shards(tmp_path, [2], lambda n: make_volume_members(n, shapes[n]))
    volumes = VolumeDataset(manifest)
    match = r"sample_0 .*\(3, 4, 5\).* sample_1 .*\(3, 4, 6\).*batch_size=1"
    with pytest.raises(ValueError, match=match):
        volumes.__getitems__([0, 1])
    with pytest.raises(ValueError, match=r"volume: sample_0 has shape .*batch_size=1"):
        volumes.collate_fn([volumes[0], volumes[1]])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_pytorchs_loader_gets_batches_from_shared_memory(split: Path, context: str) -> None:
    volumes = VolumeDataset(split)
    volumes[0]
    loader = DataLoader(
        volumes,
        batch_size=3,
        num_workers=2,
        collate_fn=volumes.collate_fn,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [3, 3, 2]
    assert all(batch["volume"].is_shared() for batch in batches)
    for number, volume in enumerate(torch.cat([batch["volume"] for batch in batches])):
        np.testing.assert_array_equal(volume.numpy(), read_volume(split.parent, number))

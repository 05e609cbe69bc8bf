"""Members of samples: checked against the record, read by any process."""

import pickle
from pathlib import Path

import pytest
import torch

from medassets.errors import ShardIntegrityError
from medassets.loaders import VolumeDataset
from medassets_tests.loaders.damaging import damage


def test_a_copy_in_another_process_opens_files_of_its_own(split: Path) -> None:
    volumes = VolumeDataset(split)
    first = volumes[0]["volume"]
    assert torch.equal(pickle.loads(pickle.dumps(volumes))[0]["volume"], first)


@pytest.mark.parametrize("suffix", ["bin", "txt", "cls", "json"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_damaged_member_is_named_and_the_others_are_read(
    own_split: Path, suffix: str, dtype: str
) -> None:
    damage(own_split, 5, suffix)
    volumes = VolumeDataset(own_split, dtype=dtype)  # pyright: ignore[reportArgumentType]
    match = (
        rf"shard-000001\.tar: sample_5: member \.{suffix} is damaged .*`medassets verify tiny` .*"
        r"`medassets build tiny --partitions train-000001 --force`"
    )
    for _ in range(2):
        with pytest.raises(ShardIntegrityError, match=match):
            volumes[5]
    assert volumes[4]["key"] == "sample_4"


def test_contents_are_checked_when_asked_for(own_split: Path) -> None:
    readers = {c: VolumeDataset(own_split, check=c) for c in ("first", "always", "never")}
    for volumes in readers.values():
        volumes[5]
    damage(own_split, 5, "bin")
    readers["first"][5]
    readers["never"][5]
    VolumeDataset(own_split, check="never")[5]
    with pytest.raises(ShardIntegrityError, match="sample_5"):
        readers["always"][5]
    # Another process has not read it yet.
    with pytest.raises(ShardIntegrityError, match="sample_5"):
        pickle.loads(pickle.dumps(readers["first"]))[5]


def test_a_shard_that_goes_or_shrinks_during_training_is_named(own_split: Path) -> None:
    volumes = VolumeDataset(own_split)
    shard = own_split.with_name("shard-000001.tar")
    volumes[4]
    with shard.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: sample_6: .*cut off"):
        volumes[6]
    with pytest.raises(ShardIntegrityError, match=r"sample_6: the shard has 3,000 bytes now"):
        pickle.loads(pickle.dumps(volumes))[6]
    shard.unlink()
    with pytest.raises(ShardIntegrityError, match=r"sample_6: the shard cannot be opened"):
        pickle.loads(pickle.dumps(volumes))[6]

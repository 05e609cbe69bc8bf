"""Partition keys and the number of them that one run takes."""

import dagster as dg
import pytest

from medassets.assets.partitions import backfill_policy, shard_partitions
from medassets.specs import VolumeDatasetSpec


def declare(runs: str = "per-shard") -> VolumeDatasetSpec:
    return VolumeDatasetSpec(name="tiny", source="folder", folder="/data/ct", runs=runs)


@pytest.mark.parametrize(
    ("runs", "policy"),
    [
        ("per-shard", dg.BackfillPolicy.multi_run(1)),
        ("batch: 12", dg.BackfillPolicy.multi_run(12)),
        ("single", dg.BackfillPolicy.single_run()),
    ],
)
def test_the_declaration_says_how_many_shards_a_run_makes(
    runs: str, policy: dg.BackfillPolicy
) -> None:
    assert backfill_policy(declare(runs)) == policy


def test_the_partitions_are_those_that_the_catalog_adds_under_the_name_of_the_dataset() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        partitions = shard_partitions(declare())
        assert partitions.get_partition_keys(dynamic_partitions_store=instance) == []
        instance.add_dynamic_partitions("tiny_shards", ["train-000000", "valid-000000"])
        assert partitions.get_partition_keys(dynamic_partitions_store=instance) == [
            "train-000000",
            "valid-000000",
        ]

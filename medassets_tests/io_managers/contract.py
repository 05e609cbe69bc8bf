"""What every IO manager of shards must do; each implementation subclasses the contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets_tests.location import QUIET, Location


def read_downstream(
    location: Location,
    *,
    partitions_def: dg.PartitionsDefinition | None,
    partition: str | None = None,
    mapping: dg.PartitionMapping | None = None,
) -> Any:
    """Return what an asset downstream of the shards is handed by their IO manager."""
    spec = dg.AssetSpec(
        location.key("shards"),
        partitions_def=dg.DynamicPartitionsDefinition(name=location.spec.partitions_name),
        metadata={"dagster/io_manager_key": "tar_shard_io_manager"},
    )

    @dg.asset(
        partitions_def=partitions_def,
        ins={"shards": dg.AssetIn(location.key("shards"), partition_mapping=mapping)},
    )
    def reader(shards: Any) -> Any:
        return shards

    resources = {**location.resources, "io_manager": dg.mem_io_manager}
    defs = dg.Definitions(
        assets=[reader, spec], resources=resources, executor=dg.in_process_executor
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=location.instance, partition_key=partition, run_config=QUIET
    )
    return result.output_for_node("reader")


class ShardIOManagerContract:
    """Shards of three samples, made and read back through Dagster.

    A subclass gives `location`: a catalogued dataset of six shards, and its resources.
    """

    @pytest.fixture
    def location(self) -> Location:
        raise NotImplementedError

    def change(self, location: Location) -> Location:
        """Return the same dataset, declared so that its samples have other bytes."""
        raise NotImplementedError

    def digests(self, location: Location) -> Mapping[str, bytes]:
        """Return the bytes of the shards on disk by partition key."""
        paths = {key: location.workspace.paths.shard(key) for key in location.keys}
        return {key: path.read_bytes() for key, path in paths.items() if path.exists()}

    def test_one_partition_is_written_and_read(self, location: Location) -> None:
        key = location.keys[1]
        location.materialize("shards", partition=key)
        assert list(self.digests(location)) == [key]
        partitions = dg.DynamicPartitionsDefinition(name=location.spec.partitions_name)
        found = read_downstream(location, partitions_def=partitions, partition=key)
        assert found == {key: location.workspace.paths.shard(key)}

    def test_many_partitions_are_written_as_one_by_one(self, location: Location) -> None:
        location.materialize("shards", span=(location.keys[0], location.keys[-1]))
        together = self.digests(location)
        for key in location.keys:
            location.materialize("shards", partition=key, config={"shards": {"force": True}})
        assert self.digests(location) == together
        assert list(together) == location.keys

    def test_an_unpartitioned_reader_gets_every_shard_that_is_there(
        self, location: Location
    ) -> None:
        location.materialize("shards", span=(location.keys[1], location.keys[3]))
        found = read_downstream(location, partitions_def=None)
        assert list(found) == location.keys[1:4]
        assert all(isinstance(path, Path) and path.exists() for path in found.values())

    def test_mapped_partitions_are_read(self, location: Location) -> None:
        first, second, third = location.keys[:3]
        location.materialize("shards", span=(first, third))
        found = read_downstream(
            location,
            partitions_def=dg.StaticPartitionsDefinition(["both"]),
            partition="both",
            mapping=dg.SpecificPartitionsPartitionMapping([second, first]),
        )
        assert list(found) == [first, second]

    def test_a_missing_object_is_left_out_and_made_again(self, location: Location) -> None:
        key = location.keys[0]
        location.materialize("shards", partition=key)
        before = self.digests(location)
        location.workspace.paths.shard(key).unlink()
        assert read_downstream(location, partitions_def=None) == {}
        location.materialize("shards", partition=key)
        assert self.digests(location) == before

    def test_an_object_with_a_stale_fingerprint_is_made_again(self, location: Location) -> None:
        key = location.keys[0]
        location.materialize("shards", partition=key)
        before = self.digests(location)[key]
        changed = self.change(location)
        changed.materialize("shards", partition=key)
        assert self.digests(changed)[key] != before

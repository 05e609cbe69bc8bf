"""What every IO manager must do; each implementation subclasses one of the contracts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from medassets_tests.location import QUIET, Location, metadata_of


def read_downstream(
    location: Location,
    *,
    partitions_def: dg.PartitionsDefinition | None,
    partition: str | None = None,
    mapping: dg.PartitionMapping | None = None,
    stage: str = "shards",
    manager: str = "tar_shard_io_manager",
) -> Any:
    """Return what an asset downstream of a stage is handed by the stage's IO manager."""
    shards = dg.DynamicPartitionsDefinition(name=location.spec.partitions_name)
    spec = dg.AssetSpec(
        location.key(stage),
        partitions_def=shards if stage == "shards" else None,
        metadata={"dagster/io_manager_key": manager},
    )

    @dg.asset(
        partitions_def=partitions_def,
        ins={"upstream": dg.AssetIn(location.key(stage), partition_mapping=mapping)},
    )
    def reader(upstream: Any) -> Any:
        return upstream

    resources = {**location.resources, "io_manager": dg.mem_io_manager}
    defs = dg.Definitions(
        assets=[reader, spec], resources=resources, executor=dg.in_process_executor
    )
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=location.instance, partition_key=partition, run_config=QUIET
    )
    return result.output_for_node("reader")


def load_input(location: Location, manager: str, stage: str) -> Any:
    """Return what an IO manager hands over for a stage, written or not."""
    context = dg.build_input_context(asset_key=location.key(stage), instance=location.instance)
    return location.resources[manager].load_input(context)


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


class UnpartitionedIOManagerContract:
    """Objects of a dataset as a whole, written and read back through Dagster.

    A subclass gives `location`, a catalogued dataset of six shards with its resources, and names
    the stage and its IO manager.
    """

    stage: str
    manager: str

    @pytest.fixture
    def location(self) -> Location:
        raise NotImplementedError

    def files(self, location: Location) -> list[Path]:
        """Return the files that the IO manager writes."""
        raise NotImplementedError

    def expect(self, location: Location) -> Any:
        """Return what a downstream asset must receive."""
        raise NotImplementedError

    def change(self, location: Location) -> Location:
        """Return the same dataset after a change of which the files must tell."""
        raise NotImplementedError

    def read(self, location: Location, **partitions: Any) -> Any:
        """Return what a downstream asset receives."""
        arguments = {"partitions_def": None, **partitions}
        return read_downstream(location, stage=self.stage, manager=self.manager, **arguments)

    def test_what_is_written_is_read_by_an_unpartitioned_asset(self, location: Location) -> None:
        location.materialize(self.stage)
        assert all(file.is_file() for file in self.files(location))
        assert self.read(location) == self.expect(location)

    def test_each_partition_downstream_receives_the_same_whole_object(
        self, location: Location
    ) -> None:
        location.materialize(self.stage)
        partitions = dg.DynamicPartitionsDefinition(name=location.spec.partitions_name)
        for key in (location.keys[0], location.keys[-1]):
            found = self.read(location, partitions_def=partitions, partition=key)
            assert found == self.expect(location)

    def test_a_mapped_asset_receives_the_whole_object(self, location: Location) -> None:
        location.materialize(self.stage)
        found = self.read(
            location,
            partitions_def=dg.StaticPartitionsDefinition(["both"]),
            partition="both",
            mapping=dg.AllPartitionMapping(),
        )
        assert found == self.expect(location)

    def test_missing_files_are_written_again_with_the_same_bytes(self, location: Location) -> None:
        location.materialize(self.stage)
        before = [file.read_bytes() for file in self.files(location)]
        for file in self.files(location):
            file.unlink()
        location.materialize(self.stage)
        assert [file.read_bytes() for file in self.files(location)] == before

    def test_files_of_an_older_state_are_written_again(self, location: Location) -> None:
        location.materialize(self.stage)
        before = [file.read_bytes() for file in self.files(location)]
        changed = self.change(location)
        changed.materialize(self.stage)
        assert [file.read_bytes() for file in self.files(changed)] != before

    def test_the_event_names_the_place(self, location: Location) -> None:
        location.materialize(self.stage)
        place = Path(metadata_of(location.events(self.stage)[-1])["dagster/uri"])
        assert all(file == place or place in file.parents for file in self.files(location))

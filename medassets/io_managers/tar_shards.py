"""Shards as tar files: the asset hands over what to make, this makes it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from medassets.datasets.automation.outcomes import note_success, noting_trouble
from medassets.datasets.build import build_shard, open_ahead
from medassets.datasets.overlap.fetch_ahead import FetchAhead
from medassets.datasets.workspace import Workspace
from medassets.errors import (
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    SpecError,
)
from medassets.io_managers.failures import MOST_SILENT, explained_failures, fail_range
from medassets.io_managers.metadata import shard_metadata
from medassets.io_managers.tries import try_shard
from medassets.progress import report
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.files import read_whole_record
from medassets.shards.writer import ShardResult, ShardWork
from medassets.storage.paths import DatasetPaths

# A setting that is not available here, or no access: every further shard would fail in the same way.
_FATAL = (SpecError, SourceAccessError)


@dataclass(frozen=True)
class ShardBatch:
    """The shards one run has to make.

    Attributes:
        workspace: The dataset.
        works: Partition key -> what to make; nothing is computed until it is written.
    """

    workspace: Workspace
    works: Mapping[str, ShardWork]


def _is_silent(error: Exception, batch: ShardBatch) -> bool:
    """Return whether a remote source did not respond; of a local one, some disks may be away."""
    return isinstance(error, SourceUnavailableError) and not batch.workspace.source.is_local


class TarShardIOManager(dg.ConfigurableIOManager):
    """Writes each shard of a run, atomically and in the order of the partition keys."""

    workspace: dg.ResourceDependency[WorkspaceResource]

    # Dagster drives a generator and records what it logged at each step; its stub says None.
    def handle_output(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: dg.OutputContext, obj: ShardBatch
    ) -> Iterator[dict[str, dg.MetadataValue]]:
        """Make the shards; with several, each is on Dagster's record as soon as it is durable.

        Raises:
            dg.Failure: If a shard could not be made; the others of the run are made before.
            dg.RetryRequested: The same, where another try may succeed.
        """
        paths = self._paths(context)
        if len(obj.works) == 1:
            (work,) = obj.works.values()
            with explained_failures(context.step_context.run_tags):
                context.add_output_metadata(self._build(context, obj, work, paths))
            return
        works = obj.works.items()
        forced = [key for key, work in works if work.force]
        with open_ahead(obj.workspace, sorted(obj.works), forced=forced) as ahead:
            yield from self._build_range(context, obj, paths, ahead)

    def _build_range(
        self, context: dg.OutputContext, batch: ShardBatch, paths: DatasetPaths, ahead: FetchAhead
    ) -> Iterator[dict[str, dg.MetadataValue]]:
        failed: dict[str, MedassetsError | OSError] = {}
        num_silent = 0
        for key, work in sorted(batch.works.items()):
            try:
                # Not across the yield: Dagster goes on in a context of its own.
                with ahead.serving():
                    metadata = self._build(context, batch, work, paths)
            except (MedassetsError, OSError) as error:
                context.log.error(f"{key}: {error}")
                failed[key] = error
                num_silent = num_silent + 1 if _is_silent(error, batch) else 0
                if isinstance(error, _FATAL) or num_silent == MOST_SILENT:
                    failed |= {other: error for other in batch.works if other > key}
                    break
                continue
            num_silent = 0
            # The closing event of the step repeats every partition: without its own copy of the
            # metadata it would hide this one's.
            context.step_context.add_asset_metadata(
                metadata, asset_key=context.asset_key, partition_key=key
            )
            versions = {
                "dagster/data_version": work.plan_fingerprint,
                "dagster/code_version": context.asset_spec.code_version or "",
            }
            context.log_event(
                dg.AssetMaterialization(
                    context.asset_key, partition=key, metadata=metadata, tags=versions
                )
            )
            yield {}
        if failed:
            fail_range(failed, context.step_context.run_tags)

    def _build(
        self, context: dg.OutputContext, batch: ShardBatch, work: ShardWork, paths: DatasetPaths
    ) -> dict[str, dg.MetadataValue]:
        tried = try_shard(batch.workspace, work.partition_key, context.step_context.dagster_run)
        with noting_trouble(tried, begins=True):
            result: ShardResult = build_shard(batch.workspace, paths, work, observe=report)
            verb = "adopted" if result.adopted else "published"
            context.log.info(f"{work.partition_key}: {verb} {result.record.num_samples} samples")
            shard = paths.shard(work.partition_key)
            metadata = shard_metadata(batch.workspace.kind, shard, result)
        note_success(tried, used_source=not result.adopted)
        return metadata

    def load_input(self, context: dg.InputContext) -> dict[str, Path]:
        """Return the shards that are on disk whole, by partition key, sorted.

        A downstream asset compares them with the plan itself: Dagster asks for every key of the
        definition, made or not.
        """
        paths = self._paths(context)
        keys = sorted(context.asset_partition_keys)
        return {k: paths.shard(k) for k in keys if read_whole_record(paths, k) is not None}

    def _paths(self, context: dg.OutputContext | dg.InputContext) -> DatasetPaths:
        dataset, stage = context.asset_key.path
        return self.workspace.paths(dataset, stage=stage)

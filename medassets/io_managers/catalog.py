"""The catalog as one Parquet file."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from medassets.datasets.automation.outcomes import note_success, noting_trouble
from medassets.datasets.refresh import CatalogDraft, publish_catalog
from medassets.io_managers.failures import explained_failures
from medassets.resources.workspace import WorkspaceResource
from medassets.storage.locks import lock_file
from medassets.storage.paths import DatasetPaths


def sync_partitions(
    instance: dg.DagsterInstance,
    name: str,
    keys: Iterable[str],
    *,
    dropped: Iterable[str] = (),
    beside: Path,
) -> None:
    """Add the keys of a plan to Dagster; keys that exist are left as they are.

    Args:
        instance: Dagster's instance.
        name: Name of the dynamic partitions definition.
        keys: Partition keys.
        dropped: Keys that left the plan: never built, and all their files are gone.
        beside: The catalog; the lock for adding keys is beside it.
    """
    # Dagster looks for a key and then inserts it: of two builds begun at once one would fail.
    with lock_file(beside.with_name(".partitions.lock")):
        known = set(instance.get_dynamic_partitions(name))
        new = [key for key in keys if key not in known]
        if new:
            instance.add_dynamic_partitions(name, new)
        for key in known.intersection(dropped):
            instance.delete_dynamic_partition(name, key)


@dataclass(frozen=True)
class CatalogFile:
    """A catalog on disk, not read yet: a partition's run reads its own rows only.

    Attributes:
        path: The Parquet file.
    """

    path: Path


class CatalogIOManager(dg.ConfigurableIOManager):
    """Writes the catalog and makes the plan's partitions known to Dagster, in this order."""

    workspace: dg.ResourceDependency[WorkspaceResource]

    def handle_output(self, context: dg.OutputContext, obj: CatalogDraft) -> None:
        """Publish the catalog, then bring the keys up to date.

        Raises:
            dg.Failure: If another refresh published another catalog meanwhile.
            dg.RetryRequested: If the disk is full, or another refresh holds the catalog.
        """
        paths = self._paths(context)
        with explained_failures(context.step_context.run_tags), noting_trouble(obj.tried):
            publish_catalog(paths, obj)
        sync_partitions(
            context.step_context.instance,
            obj.partitions_name,
            obj.plan.partitions,
            dropped=obj.dropped_partitions,
            beside=paths.catalog,
        )
        note_success(obj.tried)
        context.add_output_metadata({"dagster/uri": str(paths.catalog)})

    def load_input(self, context: dg.InputContext) -> CatalogFile:
        """Return the place of the catalog without reading it."""
        return CatalogFile(self._paths(context).catalog)

    def _paths(self, context: dg.OutputContext | dg.InputContext) -> DatasetPaths:
        return self.workspace.paths(context.asset_key.path[0])

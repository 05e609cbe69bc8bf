"""What a server or command does first on a Dagster home that may be new, beside older data."""

from collections.abc import Callable

import dagster as dg

from medassets.assets.reconcile import restore_partitions
from medassets.cli.session import Session
from medassets.datasets.recovery.places import has_shards
from medassets.errors import LostCatalogError, MedassetsError


def restore_all_partitions(
    session: Session, instance: dg.DagsterInstance, tell: Callable[[str], None]
) -> None:
    """Make the partitions of every planned dataset known to Dagster, which may have lost them.

    Without its partitions a dataset looks empty, and *Materialize all* succeeds with nothing.

    Args:
        session: The declared datasets.
        instance: The instance of the home.
        tell: Called with a line for each dataset that has something to tell.
    """
    for dataset in session.loaded.datasets:
        try:
            workspace = session.workspace(dataset)
            if workspace.has_catalog and (new := restore_partitions(workspace, instance)):
                command = workspace.paths.reconcile_command
                tell(
                    f"{dataset}: {len(new)} partitions were unknown to this home; `{command}` "
                    f"records the shards that are on disk"
                )
            elif not workspace.has_catalog and has_shards(workspace.paths):
                raise LostCatalogError(workspace.explain_missing_catalog())
        except MedassetsError as error:
            tell(str(error))

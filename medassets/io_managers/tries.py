"""Names what a run tries, for the journal of automation."""

import dagster as dg

from medassets.datasets.automation.attempts import name_item
from medassets.datasets.automation.outcomes import Try
from medassets.datasets.build import today_fingerprint
from medassets.datasets.workspace import Workspace
from medassets.instance.run_tags import AUTOMATED_TAG


def try_asset(workspace: Workspace, name: str, plan: str, run: dg.DagsterRun) -> Try:
    """Return the try of an unpartitioned asset.

    Args:
        workspace: The dataset.
        name: Name of the asset: the second part of its key.
        plan: Fingerprint of its inputs.
        run: The run.
    """
    return Try(workspace, name_item(name), plan, run.run_id, AUTOMATED_TAG in run.tags)


def try_shard(workspace: Workspace, partition_key: str, run: dg.DagsterRun) -> Try:
    """Return the try of one shard, of which the files of a raw stage are a part.

    Args:
        workspace: The dataset and stage.
        partition_key: The shard.
        run: The run.

    Raises:
        CatalogError: If there is no catalog.
    """
    plan = workspace.read_plan()
    # A key that left the plan fails later, with its name.
    is_planned = partition_key in plan.partitions
    today = today_fingerprint(workspace, plan, partition_key) if is_planned else ""
    item = name_item(workspace.kind.stage, partition_key)
    return Try(workspace, item, today, run.run_id, AUTOMATED_TAG in run.tags)

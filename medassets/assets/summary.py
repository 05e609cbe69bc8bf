"""The asset that says how far a dataset is; it makes nothing."""

import time
from collections.abc import Sequence
from typing import Any

import dagster as dg

from medassets.assets.keys import asset_key
from medassets.assets.metadata import account_metadata
from medassets.datasets.kind import DatasetKind
from medassets.datasets.summary import Summary, summarize
from medassets.io_managers.failures import explained_failures
from medassets.resources.workspace import WorkspaceResource
from medassets.stages import CommonStage


def build_summary(kinds: Sequence[DatasetKind]) -> dg.Definitions:
    """Return the asset `[<dataset>, summary]`, a job that makes it, and an hourly schedule.

    It has a group of its own, so that *Materialize all* of the dataset leaves it out. Its numbers
    are drawn over time on its page.

    Args:
        kinds: The stages of shards of one declared dataset; the one to train on is first.
    """
    spec = kinds[0].spec

    @dg.asset(
        key=asset_key(spec.name, CommonStage.SUMMARY),
        group_name=f"{spec.name}_{CommonStage.SUMMARY}",
        deps=[asset_key(spec.name, kind.stage) for kind in kinds],
        description="How far the dataset is, how fast it goes, and the room left on its disk.",
    )
    def summary(
        context: dg.AssetExecutionContext, workspace: WorkspaceResource
    ) -> dg.MaterializeResult:
        with explained_failures(context.run.tags):
            opened = [workspace.open(kind) for kind in kinds]
            if not opened[0].paths.catalog.exists():
                return dg.MaterializeResult(metadata={"medassets/planned": False})
            found = [summarize(one, now=time.time()) for one in opened]
        # The account of the stage to train on replaces those of the others.
        metadata = [_describe(one) for one in reversed(found)]
        return dg.MaterializeResult(metadata={k: v for one in metadata for k, v in one.items()})

    job = dg.define_asset_job(
        name=f"{spec.name}_summary",
        selection=dg.AssetSelection.assets(asset_key(spec.name, CommonStage.SUMMARY)),
        executor_def=dg.in_process_executor,
        tags={"medassets/dataset": spec.name},
    )
    schedule = dg.ScheduleDefinition(
        name=f"{spec.name}_summary_schedule",
        job=job,
        cron_schedule="0 * * * *",
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if spec.is_automated
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description="Notes every hour how far the dataset is; runs by default with automation: on.",
    )
    return dg.Definitions(assets=[summary], jobs=[job], schedules=[schedule])


def _describe(found: Summary) -> dict[str, Any]:
    """Return numbers, which Dagster draws over time, and the reasons behind them."""
    prefix = f"{found.stage}/"
    account, rate, left = found.account, found.throughput.samples_per_s, found.seconds_left
    numbers = {
        "samples_done": account.done,
        "samples_left": account.num_left,
        "samples_rejected": account.num_rejected,
        "items_excluded": account.num_excluded,
        "samples_held": account.held,
        **{f"shards_{state}": count for state, count in found.shards.items()},
        **({"samples_per_s": rate} if rate is not None else {}),
        **({"hours_left": left / 3600} if left is not None else {}),
        "free_gb": found.free_bytes / 1e9,
    }
    return {
        **{prefix + name: value for name, value in numbers.items()},
        **account_metadata(account),
    }

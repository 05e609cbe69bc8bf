"""Jobs for the terminal and the launchpad, the schedule that looks for new files, and automation."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import dagster as dg

# Neither has a public name.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from medassets.assets.conditions import DatasetSensor
from medassets.assets.keys import asset_key
from medassets.datasets.automation.attempts import AttemptsLog, name_item
from medassets.datasets.automation.switch import read_switch
from medassets.datasets.automation.wanted import needs_refresh
from medassets.datasets.kind import DatasetKind
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError
from medassets.instance.run_tags import AUTOMATED_TAG, DATASET_TAG
from medassets.resources.workspace import WorkspaceResource
from medassets.specs import DatasetSpec
from medassets.stages import CommonStage

if TYPE_CHECKING:
    # Dagster exports the function but not the type of what it returns.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_ENDED = [TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.FAILURE]
_KEEP_EVALUATIONS_S = 7 * 86400.0


def build_automation(
    kind: DatasetKind, *, jobs: Mapping[str, Sequence[str]], manifest: str = CommonStage.MANIFEST
) -> dg.Definitions:
    """Return jobs `<dataset>_catalog`, `<dataset>_manifest`, those named, and a schedule.

    Args:
        kind: The declared dataset, and the stage whose shards are planned.
        jobs: Name of a job, behind the dataset's, to the partitioned stages it makes; `build`
            makes all that a dataset needs.
        manifest: Stage that a build ends with.

    A build runs in process: a step of its own process costs two seconds a shard, and outlives a
    killed run as an orphan.
    """
    spec = kind.spec
    catalog = _job(spec, "catalog", [CommonStage.CATALOG])
    return dg.Definitions(
        jobs=[
            catalog,
            *(_job(spec, name, list(stages)) for name, stages in jobs.items()),
            _job(spec, "manifest", [manifest]),
        ],
        schedules=[_schedule(kind, catalog)],
        sensors=[_sensor(spec)],
    )


def _job(spec: DatasetSpec, name: str, stages: list[str]) -> "UnresolvedAssetJobDefinition":
    keys = [asset_key(spec.name, stage) for stage in stages]
    return dg.define_asset_job(
        name=f"{spec.name}_{name}",
        selection=dg.AssetSelection.assets(*keys),
        executor_def=dg.in_process_executor,
        tags={DATASET_TAG: spec.name},
    )


def _schedule(kind: DatasetKind, catalog: "UnresolvedAssetJobDefinition") -> dg.ScheduleDefinition:
    """Return the schedule of the catalog's refresh; it runs by default where automation is declared."""
    spec = kind.spec

    def refresh(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        workspace: WorkspaceResource = context.resources.workspace
        switch = read_switch(spec, workspace.paths(spec.name))
        if switch.override == "off":
            return dg.SkipReason(f"automation is {switch.describe()}")
        _forget_old_evaluations(context.instance)
        if waiting := _find_refresh(context.instance, spec.name):
            return dg.SkipReason(f"run {waiting} refreshes the catalog already, or waits to")
        if not switch.is_on:
            return dg.RunRequest()
        opened = workspace.open(kind)
        if _sensor_refreshes(context.instance, opened):
            return dg.SkipReason("automation refreshes the catalog by itself, when that is due")
        # A full disk must not stop a refresh.
        with suppress(OSError):
            AttemptsLog(opened.paths).note_asked(
                name_item(CommonStage.CATALOG), "", now=time.time()
            )
        # Automation tries again by itself; a run that waited for its source would hold back others.
        return dg.RunRequest(tags={AUTOMATED_TAG: "yes"})

    return dg.ScheduleDefinition(
        name=f"{spec.name}_catalog_schedule",
        job=catalog,
        cron_schedule=spec.catalog_cron,
        execution_fn=refresh,
        required_resource_keys={"workspace"},
        default_status=(
            dg.DefaultScheduleStatus.RUNNING
            if spec.is_automated
            else dg.DefaultScheduleStatus.STOPPED
        ),
        description="Looks for new source files; runs by default with automation: on.",
    )


def _find_refresh(instance: dg.DagsterInstance, dataset: str) -> str:
    """Return the id of a run that refreshes the catalog or waits to; empty if there is none."""
    runs = instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED, tags={DATASET_TAG: dataset}))
    catalog = asset_key(dataset, CommonStage.CATALOG)
    found = (
        run.run_id
        for run in runs
        if run.job_name == f"{dataset}_catalog" or catalog in (run.asset_selection or ())
    )
    return next(found, "")


def _sensor_refreshes(instance: dg.DagsterInstance, workspace: Workspace) -> bool:
    """Return whether the sensor starts a refresh by itself, now or later.

    Daemon threads of their own ask the sensor and the schedule: where both would start a refresh,
    neither would see the other's.
    """
    spec = workspace.kind.spec
    if not _is_at_work(instance, _name_sensor(spec)):
        return False
    try:
        known = instance.get_dynamic_partitions(spec.partitions_name)
        return needs_refresh(workspace, AttemptsLog(workspace.paths).read(), known=known)
    except MedassetsError:
        # A catalog that cannot be read, say; the refresh reports it.
        return False


def _is_at_work(instance: dg.DagsterInstance, sensor: str) -> bool:
    """Return whether a sensor was not switched off, and its last tick did not fail."""
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        if state.instigator_name == sensor:
            ticks = instance.get_ticks(
                state.instigator_origin_id, state.selector_id, limit=1, statuses=_ENDED
            )
            return state.is_running and all(t.status is not TickStatus.FAILURE for t in ticks)
    # It runs by default; its first tick is ahead.
    return True


def _forget_old_evaluations(instance: dg.DagsterInstance) -> None:
    """Remove what conditions evaluated to long ago: Dagster keeps a row for each change of each asset.

    It removes rows of other sensors, but not those of a sensor whose conditions are custom.
    """
    storage = instance.schedule_storage
    if storage is not None:
        storage.purge_asset_evaluations(before=time.time() - _KEEP_EVALUATIONS_S)


def _name_sensor(spec: DatasetSpec) -> str:
    return f"{spec.name}_automation"


def _sensor(spec: DatasetSpec) -> dg.AutomationConditionSensorDefinition:
    """Return the sensor that starts what the conditions of the dataset's assets ask for.

    It always runs: only then does `medassets automate` need no server, and survive a lost database.
    """
    return DatasetSensor(
        name=_name_sensor(spec),
        target=dg.AssetSelection.groups(spec.name),
        run_tags={DATASET_TAG: spec.name, AUTOMATED_TAG: "yes"},
        default_status=dg.DefaultSensorStatus.RUNNING,
        # Dagster's daemon cannot evaluate conditions that are not its own.
        use_user_code_server=True,
        description=(
            "Makes shards that are missing, lost, stale or failed, and the manifest after them; it "
            "asks for nothing unless the dataset says automation: on, or `medassets automate` did."
        ),
    )

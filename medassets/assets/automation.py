"""Jobs for the terminal and the launchpad, and the schedule that looks for new source files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from medassets.assets.keys import asset_key
from medassets.specs import DatasetSpec
from medassets.stages import CommonStage

if TYPE_CHECKING:
    # Dagster exports the function but not the type of what it returns.
    from dagster._core.definitions.unresolved_asset_job_definition import (
        UnresolvedAssetJobDefinition,
    )


def build_automation(
    spec: DatasetSpec, *, jobs: Mapping[str, Sequence[str]], manifest: str = CommonStage.MANIFEST
) -> dg.Definitions:
    """Return jobs `<dataset>_catalog`, `<dataset>_manifest`, those named, and a schedule.

    Args:
        spec: The declaration.
        jobs: Name of a job, behind the dataset's, to the partitioned stages it makes; `build`
            makes all that a dataset needs.
        manifest: Stage that a build ends with.

    A build runs in process: a step of its own process costs two seconds a shard, and outlives a
    killed run as an orphan.
    """
    catalog = _job(spec, "catalog", [CommonStage.CATALOG])
    schedule = dg.ScheduleDefinition(
        name=f"{spec.name}_catalog_schedule",
        job=catalog,
        cron_schedule=spec.catalog_cron,
        description="Looks for new source files; switch it on in the UI.",
    )
    return dg.Definitions(
        jobs=[
            catalog,
            *(_job(spec, name, list(stages)) for name, stages in jobs.items()),
            _job(spec, "manifest", [manifest]),
        ],
        schedules=[schedule],
        sensors=_sensors(spec),
    )


def _job(spec: DatasetSpec, name: str, stages: list[str]) -> "UnresolvedAssetJobDefinition":
    keys = [asset_key(spec.name, stage) for stage in stages]
    return dg.define_asset_job(
        name=f"{spec.name}_{name}",
        selection=dg.AssetSelection.assets(*keys),
        executor_def=dg.in_process_executor,
        tags={"medassets/dataset": spec.name},
    )


def _sensors(spec: DatasetSpec) -> list[dg.AutomationConditionSensorDefinition]:
    if spec.automation == "off":
        return []
    return [
        dg.AutomationConditionSensorDefinition(
            name=f"{spec.name}_drain",
            target=dg.AssetSelection.groups(spec.name),
            run_tags={"medassets/dataset": spec.name},
        )
    ]

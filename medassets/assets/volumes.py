"""The assets, checks, jobs and schedule of one dataset of CT volumes."""

from collections.abc import Mapping, Sequence

import dagster as dg

from medassets.assets.automation import build_automation
from medassets.assets.checks import build_checks
from medassets.assets.factory import (
    build_catalog_asset,
    build_manifest_asset,
    build_raw_asset,
    build_shards_asset,
)
from medassets.assets.reclaim import build_reclaim_asset
from medassets.assets.reconcile import build_reconcile_job
from medassets.assets.summary import build_summary
from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import open_kind
from medassets.specs import VolumeDatasetSpec
from medassets.stages import VolumeStage


def build_volume_assets(spec: VolumeDatasetSpec) -> dg.Definitions:
    """Return everything Dagster needs for one declared dataset of CT volumes.

    Touches no disk, network or environment. The resources (`workspace` and the IO managers) are
    those of `medassets.definitions.build_resources`; merge both into one `dg.Definitions`.

    Args:
        spec: The declaration.
    """
    kind = open_kind(spec)
    if not spec.delete_sources:
        return build_ct_assets(kind)
    jobs = {
        "reclaim": [VolumeStage.RECLAIMED_SOURCES],
        "convert": [kind.stage, VolumeStage.RECLAIMED_SOURCES],
    }
    return build_ct_assets(kind, more=[build_reclaim_asset(kind)], more_jobs=jobs)


def build_ct_assets(
    kind: DatasetKind,
    *,
    more: Sequence[dg.AssetsDefinition] = (),
    more_jobs: Mapping[str, Sequence[str]] | None = None,
) -> dg.Definitions:
    """Return assets, checks, jobs and schedule of one kind that reads CT volumes.

    Args:
        kind: The declared dataset; its one stage follows the catalog, and the files of a remote
            source.
        more: Other assets of the dataset.
        more_jobs: Jobs that make them: name, behind the dataset's, to the stages.
    """
    raw_stage = None if kind.open_source().is_local else VolumeStage.RAW_VOLUMES
    assets = [build_catalog_asset(kind)]
    if raw_stage:
        assets.append(build_raw_asset(kind, stage=raw_stage))
    assets += [build_shards_asset(kind, upstream=raw_stage), build_manifest_asset(kind), *more]
    stages = [stage for stage in (raw_stage, kind.stage) if stage]
    return dg.Definitions.merge(
        dg.Definitions(
            assets=assets, asset_checks=build_checks(kind), jobs=[build_reconcile_job([kind])]
        ),
        build_automation(kind, jobs={"build": stages, **(more_jobs or {})}),
        build_summary([kind]),
    )

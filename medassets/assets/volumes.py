"""The assets, checks, jobs and schedule of one dataset of CT volumes."""

import dagster as dg

from medassets.assets.automation import build_automation
from medassets.assets.checks import build_checks
from medassets.assets.factory import (
    build_catalog_asset,
    build_manifest_asset,
    build_raw_asset,
    build_shards_asset,
)
from medassets.datasets.kind import DatasetKind
from medassets.datasets.volumes import VolumeDataset
from medassets.specs import VolumeDatasetSpec


def build_volume_assets(spec: VolumeDatasetSpec) -> dg.Definitions:
    """Return everything Dagster needs for one declared dataset of CT volumes.

    Touches no disk, network or environment. The resources (`workspace` and the IO managers) are
    those of `medassets.definitions.build_resources`; merge both into one `dg.Definitions`.

    Args:
        spec: The declaration.
    """
    return build_ct_assets(VolumeDataset(spec))


def build_ct_assets(kind: DatasetKind) -> dg.Definitions:
    """Return assets, checks, jobs and schedule of one kind that reads CT volumes.

    Args:
        kind: The declared dataset; its one stage follows the catalog, and the files of a remote
            source.
    """
    spec = kind.spec
    raw_stage = "raw_volumes" if spec.source == "huggingface" else None
    assets = [build_catalog_asset(kind)]
    if raw_stage:
        assets.append(build_raw_asset(kind, stage=raw_stage))
    assets += [build_shards_asset(kind, upstream=raw_stage), build_manifest_asset(kind)]
    stages = [stage for stage in (raw_stage, kind.stage) if stage]
    return dg.Definitions.merge(
        dg.Definitions(assets=assets, asset_checks=build_checks(kind)),
        build_automation(spec, jobs={"build": stages}),
    )

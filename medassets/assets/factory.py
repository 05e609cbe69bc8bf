"""The assets every kind of dataset has: catalog, raw files, shards, manifest."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
from pydantic import Field

from medassets.assets.conditions import ManifestWanted, RefreshWanted, ShardsWanted
from medassets.assets.keys import asset_key
from medassets.assets.metadata import catalog_metadata, manifest_metadata, stage_metadata
from medassets.assets.partitions import backfill_policy, shard_partitions
from medassets.datasets.accounts import check_excluded, take_accounts
from medassets.datasets.automation.outcomes import noting_trouble, require_source
from medassets.datasets.automation.wanted import look_at_disk
from medassets.datasets.build import plan_shard, stage_partition
from medassets.datasets.kind import DatasetKind
from medassets.datasets.manifests.publication import describe_catalog, plan_publication
from medassets.datasets.refresh import draft_catalog
from medassets.io_managers.catalog import CatalogFile
from medassets.io_managers.failures import explained_failures
from medassets.io_managers.manifests import STAGE_KEY, ManifestSet
from medassets.io_managers.tar_shards import ShardBatch
from medassets.io_managers.tries import try_asset, try_shard
from medassets.progress import BytesFetched, report
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.account import join_accounts
from medassets.shards.manifest import Document, Manifest
from medassets.shards.writer import ShardWork
from medassets.stages import CommonStage

Equip = Callable[[DatasetKind, Any], DatasetKind]
"""Gives a kind the resources of a run that its processing needs."""


def keep_kind(kind: DatasetKind, resources: Any) -> DatasetKind:
    """Return the kind as it is: it needs no resource."""
    return kind


_LEFT = "fetched to the staging area while the shards before it are made, later in this run"


def _makes(context: dg.AssetExecutionContext, key: dg.AssetKey) -> bool:
    """Return whether the run makes an asset."""
    return key in context.job_def.asset_layer.selected_asset_keys


def _report_bytes(num_bytes: int) -> None:
    report(BytesFetched(num_bytes))


class CatalogConfig(dg.Config):
    """Settings of one refresh.

    Attributes:
        limit: Maximum number of samples to plan; the others wait for a refresh without limit.
        limit_splits: Count the limit in these splits only, and hold the others.
        samples_per_shard: Replaces the declared number; before the first plan only.
        settings: Replace what the kind's declaration says of splits; before the first plan only.
        revision: Read a Hub at this revision; shards that were never built follow it.
        update: Shards whose files or rows changed on a Hub take the new content.
    """

    limit: int | None = None
    limit_splits: list[str] = Field(default_factory=list)
    samples_per_shard: int | None = None
    settings: dict[str, Any] = Field(default_factory=dict)
    revision: str = ""
    update: bool = False


class ShardsConfig(dg.Config):
    """Settings of one build.

    Attributes:
        num_workers: Threads that preprocess samples; 0 takes the declaration's number.
        force: Make shards again even when they are whole.
    """

    num_workers: int = 0
    force: bool = False


class ManifestConfig(dg.Config):
    """Settings of one refresh of the manifests.

    Attributes:
        allow_shrink: Publish manifests that list fewer samples than those on disk.
    """

    allow_shrink: bool = False


def build_catalog_asset(kind: DatasetKind) -> dg.AssetsDefinition:
    """Return the unpartitioned asset `[<dataset>, catalog]`."""
    spec = kind.spec

    @dg.asset(
        key=asset_key(spec.name, CommonStage.CATALOG),
        group_name=spec.name,
        kinds={"parquet"},
        io_manager_key="catalog_io_manager",
        automation_condition=RefreshWanted.condition(kind),
        description="One row per source item: where it is, which shard it belongs to, or why not.",
    )
    def catalog(
        context: dg.AssetExecutionContext, config: CatalogConfig, workspace: WorkspaceResource
    ) -> dg.MaterializeResult:
        opened, tags = workspace.open(kind), context.run.tags
        tried = try_asset(opened, CommonStage.CATALOG, "", context.run)
        # Killed, it would else be missed until its schedule's next time.
        with explained_failures(tags), noting_trouble(tried, begins=True):
            draft = draft_catalog(
                opened,
                limit=config.limit,
                limit_splits=config.limit_splits,
                samples_per_shard=config.samples_per_shard,
                settings=config.settings,
                revision=config.revision,
                update=config.update,
            )
            described = describe_catalog(opened, draft.table)
            account = join_accounts(take_accounts(opened, draft.table).values())
            check_excluded(opened, account, draft.table)
        return dg.MaterializeResult(
            value=replace(draft, tried=tried),
            metadata=catalog_metadata(draft, account, described),
            data_version=dg.DataVersion(draft.plan.version),
        )

    return catalog


def build_raw_asset(kind: DatasetKind, *, stage: str) -> dg.AssetsDefinition:
    """Return the partitioned asset that brings a remote source's files to the local disk."""
    spec = kind.spec

    @dg.asset(
        key=asset_key(spec.name, stage),
        group_name=spec.name,
        kinds={spec.source},
        partitions_def=shard_partitions(spec),
        backfill_policy=backfill_policy(spec),
        deps=[asset_key(spec.name, CommonStage.CATALOG)],
        pool="hf_download",
        automation_condition=ShardsWanted.condition(kind, with_stages=[stage, kind.stage]),
        description="Source files of one shard, checked; released when the shard is verified.",
    )
    def raw(context: dg.AssetExecutionContext, workspace: WorkspaceResource) -> None:
        opened, keys = workspace.open(kind), sorted(context.partition_keys)
        # Files that the declaration keeps are fetched for whole shards as well.
        is_followed = not spec.keep_raw and _makes(context, asset_key(spec.name, kind.stage))
        leave = ""
        for key in keys:
            with explained_failures(context.run.tags):
                tried = try_shard(opened, key, context.run)
                require_source(tried)
                # Only the shards, later in this run, free the room that a range would wait for.
                may_wait = len(keys) == 1
                with noting_trouble(tried):
                    done = stage_partition(
                        opened, key, may_wait=may_wait, leave=leave, on_bytes=_report_bytes
                    )
                if done.needed and is_followed:
                    leave = _LEFT
            context.add_asset_metadata(stage_metadata(done), partition_key=key)

    return raw


def build_shards_asset(
    kind: DatasetKind,
    *,
    upstream: str | None = None,
    made_of: DatasetKind | None = None,
    equip: Equip = keep_kind,
    resource_keys: Collection[str] = (),
    pool: str | None = None,
    is_optional: bool = False,
) -> dg.AssetsDefinition:
    """Return a partitioned asset of tar shards, `[<dataset>, <stage of the kind>]`.

    Args:
        kind: The declared dataset.
        upstream: Partitioned stage it reads, None when it reads a local folder.
        made_of: The kind of that stage, where its shards are what this stage is made of.
        equip: Gives the kind the resources it needs.
        resource_keys: Names of those resources.
        pool: Dagster pool that bounds how many runs make such shards at once.
        is_optional: A whole build leaves it out. So it has a group of its own, that *Materialize
            all* of the dataset's group leaves it out too, and automation never makes it.
    """
    spec = kind.spec
    condition = None if is_optional else ShardsWanted.condition(kind, made_of=made_of)

    @dg.asset(
        key=asset_key(spec.name, kind.stage),
        group_name=f"{spec.name}_{kind.stage}" if is_optional else spec.name,
        kinds={"webdataset"},
        partitions_def=shard_partitions(spec),
        backfill_policy=backfill_policy(spec),
        ins={"catalog": dg.AssetIn(asset_key(spec.name, CommonStage.CATALOG))},
        deps=[asset_key(spec.name, upstream)] if upstream else [],
        # By name, since Dagster takes no mixture, and only the kind knows what it needs.
        required_resource_keys={"workspace", *resource_keys},
        pool=pool,
        io_manager_key="tar_shard_io_manager",
        code_version=kind.fingerprint()[:12],
        automation_condition=condition,
        description="WebDataset tar shards, verified before they are published.",
    )
    def shards(
        context: dg.AssetExecutionContext, config: ShardsConfig, catalog: CatalogFile
    ) -> dg.MaterializeResult:
        workspace: WorkspaceResource = context.resources.workspace
        with explained_failures(context.run.tags):
            opened = workspace.open(equip(kind, context.resources))
            works: dict[str, ShardWork] = {}
            for key in sorted(context.partition_keys):
                tried = try_shard(opened, key, context.run)
                require_source(tried)
                with noting_trouble(tried):
                    works[key] = plan_shard(
                        opened, key, num_workers=config.num_workers, force=config.force
                    )
        versions = [work.plan_fingerprint for work in works.values()]
        return dg.MaterializeResult(
            value=ShardBatch(opened, works),
            data_version=dg.DataVersion(versions[0]) if len(versions) == 1 else None,
        )

    return shards


def build_manifest_asset(
    kind: DatasetKind,
    *,
    name: str = CommonStage.MANIFEST,
    document: Callable[[Mapping[str, Manifest]], Document] | None = None,
) -> dg.AssetsDefinition:
    """Return the unpartitioned asset that lists a stage's shards, one manifest per split.

    Args:
        kind: The stage.
        name: Name of the asset.
        document: Makes one more document, `<name>.json` in the dataset's folder, of the manifests.
    """
    spec = kind.spec

    @dg.asset(
        key=asset_key(spec.name, name),
        group_name=spec.name,
        metadata={STAGE_KEY: str(kind.stage)},
        kinds={"json"},
        deps=[asset_key(spec.name, kind.stage)],
        ins={"catalog": dg.AssetIn(asset_key(spec.name, CommonStage.CATALOG))},
        io_manager_key="manifest_io_manager",
        automation_condition=ManifestWanted.condition(kind, name=name),
        description="What training reads first: the shards of each split, sizes and checksums.",
    )
    def manifest(
        context: dg.AssetExecutionContext,
        config: ManifestConfig,
        workspace: WorkspaceResource,
        catalog: CatalogFile,
    ) -> dg.MaterializeResult:
        opened, tags = workspace.open(kind), context.run.tags
        with explained_failures(tags):
            # What is published during this run makes another manifest due.
            tried = try_asset(opened, name, look_at_disk(opened).fingerprint, context.run)
            with noting_trouble(tried):
                planned = plan_publication(opened, allow_shrink=config.allow_shrink)
                documents = {f"{name}.json": document(planned.everything)} if document else {}
        return dg.MaterializeResult(
            value=ManifestSet(planned.manifests, documents, tried, planned.refused, planned.splits),
            metadata=manifest_metadata(planned),
        )

    return manifest

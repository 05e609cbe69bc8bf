"""Bring catalog, shards and Dagster's record in line with each other, without computing anything."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import nullcontext

import dagster as dg

from medassets.assets.keys import asset_key
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.kind import DatasetKind
from medassets.datasets.recovery.damaged_catalog import find_free_name, is_damaged, set_aside
from medassets.datasets.recovery.foreseen import foresee_states
from medassets.datasets.recovery.leftovers import sweep_leftovers
from medassets.datasets.recovery.misplaced import (
    Move,
    explain_misplaced,
    find_misplaced,
    plan_moves,
    put_back,
)
from medassets.datasets.recovery.places import FoundShard, look_at_place
from medassets.datasets.recovery.report import ReconcileReport, StageReport
from medassets.datasets.recovery.restore import find_lost_shards
from medassets.datasets.recovery.strays import find_strays
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.status import ShardState, shard_states
from medassets.datasets.verify import verify_dataset
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError
from medassets.instance.run_tags import DATASET_TAG
from medassets.io_managers.catalog import sync_partitions
from medassets.io_managers.failures import explained_failures
from medassets.io_managers.recorded import read_recorded, report_shard, writing_many_events
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.catalog.plan import CatalogPlan
from medassets.stages import CommonStage
from medassets.storage.ownership import describe_type

_MEANING = {
    ShardState.LOST: "it is not whole on disk",
    ShardState.FAILED: "its last build failed",
    ShardState.STALE: "it was made from other inputs or settings than today's",
}


def reconcile(
    workspaces: Sequence[Workspace],
    instance: dg.DagsterInstance,
    *,
    dry_run: bool = False,
    full: bool = False,
) -> ReconcileReport:
    """Restore what can be restored from the shards on disk, and list what cannot.

    Args:
        workspaces: The stages of one dataset; the one to train on is first.
        instance: Dagster's instance.
        dry_run: Write nothing.
        full: Read every byte of every shard, and prove tars without a record against their
            sources; this computes their samples again.

    Raises:
        CatalogError: If there is neither a catalog nor a shard, or records contradict each other.
        SourceAccessError: If a lost plan needs the source, and it refuses access.
        SourceUnavailableError: The same, and it does not respond.
    """
    first = workspaces[0]
    report = ReconcileReport(first.kind.spec.name, is_dry_run=dry_run)
    if is_damaged(first.paths.catalog) and not _set_catalog_aside(first, report):
        return report
    moves = {w.kind.stage: _settle_places(w, dry_run=dry_run) for w in workspaces}
    plan = _restore_plan(first, report)
    _sync_keys(first, instance, plan, report)
    with nullcontext() if dry_run else writing_many_events():
        for workspace in workspaces:
            moved = moves[workspace.kind.stage]
            found = _reconcile_stage(workspace, instance, plan, moved, dry_run=dry_run, full=full)
            found.repaired = [*(m.describe() for m in moved if m.is_last), *found.repaired]
            report.stages.append(found)
        _report_catalog(first, instance, plan, dry_run=dry_run)
    return report


def restore_partitions(workspace: Workspace, instance: dg.DagsterInstance) -> list[str]:
    """Add the partition keys of a plan that Dagster does not know; return them.

    Raises:
        CatalogError: If there is no readable catalog.
    """
    spec, plan = workspace.kind.spec, workspace.read_plan()
    known = set(instance.get_dynamic_partitions(spec.partitions_name))
    new = [key for key in plan.partitions if key not in known]
    if new:
        sync_partitions(
            instance, spec.partitions_name, plan.partitions, beside=workspace.paths.catalog
        )
    return new


def _settle_places(workspace: Workspace, *, dry_run: bool) -> list[Move]:
    """Move shards to their own places; return what was done, or would be."""
    return plan_moves(workspace.paths) if dry_run else put_back(workspace.paths)


def _set_catalog_aside(workspace: Workspace, report: ReconcileReport) -> bool:
    """Give a damaged catalog another name; return False in a dry run, which goes no further."""
    # Records that contradict each other refuse before anything is changed.
    lost = find_lost_shards(workspace, None)
    if report.is_dry_run:
        report.set_aside = str(find_free_name(workspace.paths.catalog))
        report.restored = tuple(lost)
        return False
    report.set_aside = str(set_aside(workspace.paths) or "")
    return True


def _restore_plan(workspace: Workspace, report: ReconcileReport) -> CatalogPlan:
    has_plan = workspace.has_catalog
    lost = find_lost_shards(workspace, workspace.read_plan() if has_plan else None)
    if not lost:
        return workspace.read_plan()
    # Without room for new samples: what is new to the plan waits for the next refresh.
    draft = draft_catalog(workspace, limit=0)
    report.restored = draft.restored
    if not report.is_dry_run:
        publish_catalog(workspace.paths, draft)
    return draft.plan


def _sync_keys(
    workspace: Workspace, instance: dg.DagsterInstance, plan: CatalogPlan, report: ReconcileReport
) -> None:
    name = workspace.kind.spec.partitions_name
    known = set(instance.get_dynamic_partitions(name))
    report.new_partitions = [key for key in plan.partitions if key not in known]
    if report.new_partitions and not report.is_dry_run:
        sync_partitions(instance, name, plan.partitions, beside=workspace.paths.catalog)


def _reconcile_stage(
    workspace: Workspace,
    instance: dg.DagsterInstance,
    plan: CatalogPlan,
    moves: Sequence[Move],
    *,
    dry_run: bool,
    full: bool,
) -> StageReport:
    found, paths = StageReport(workspace.kind.stage), workspace.paths
    if dry_run and not workspace.has_catalog:
        return found
    found.repaired = list(sweep_leftovers(workspace, dry_run=dry_run))
    if full and not dry_run:
        found.repaired += _prove_tars(workspace, plan)
    keys = list(plan.partitions)
    recorded = read_recorded(instance, workspace.kind, keys)
    states, touched = shard_states(workspace, recorded), set[str]()
    if dry_run:
        touched = {place for move in moves for place in (move.tar, move.record, move.place)}
        states |= foresee_states(workspace, plan, recorded, moves)
    as_found = [key for key in keys if key not in touched]
    damaged = verify_dataset(workspace, as_found, full=True).problems if full else []
    bad = {problem.partition for problem in damaged}
    for key, state in states.items():
        is_unknown = state is ShardState.ORPHANED and key not in bad
        if is_unknown and (dry_run or report_shard(instance, workspace, key)):
            found.reported.append(key)
            states[key] = ShardState.DONE
    found.shards = {str(state): n for state, n in Counter(states.values()).items()}
    found.problems = [
        *(f"{problem}" for problem in damaged),
        *_describe_states(workspace, {k: s for k, s in states.items() if k not in bad}, touched),
        *(explain_misplaced(one) for one in find_misplaced(paths) if one.place not in touched),
        *(line for line in find_strays(workspace, touched) if "its record is that of" not in line),
    ]
    return found


def _describe_states(
    workspace: Workspace, states: dict[str, ShardState], touched: Collection[str]
) -> list[str]:
    command = workspace.paths.build_command
    lines: list[str] = []
    for key, state in states.items():
        is_lost = state is ShardState.LOST
        place = look_at_place(workspace.paths, key) if is_lost and key not in touched else None
        if place is not None and place.has_tar and place.record is None:
            lines.append(
                f"{place.shard}: {place.trouble}; `{workspace.paths.reconcile_command} --full` makes "
                f"its samples again, and writes the record if every byte is the same"
            )
        elif state in _MEANING:
            what = _explain_lost(place) if place is not None else ""
            where = workspace.paths.shard(key) if is_lost else key
            lines.append(f"{where}: {what or _MEANING[state]}; `{command} --partitions {key}`")
    return lines


def _explain_lost(place: FoundShard) -> str:
    """Return what shows that a shard is not whole; empty if something of it is missing."""
    if not place.has_tar and os.path.lexists(place.shard):
        return f"{describe_type(place.shard.lstat().st_mode)} is in its place; move it away"
    return place.trouble if place.record is not None else ""


def _prove_tars(workspace: Workspace, plan: CatalogPlan) -> list[str]:
    """Write records of tars that have none, if their samples, made again, have the same bytes."""
    proven: list[str] = []
    for key in plan.partitions:
        place = look_at_place(workspace.paths, key)
        if not place.has_tar or place.record is not None:
            continue
        try:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        except MedassetsError:
            # It stays as it is, and is listed with the reason.
            continue
        proven.append(f"{place.shard}: proven against its sources, its record is written")
    return proven


def _report_catalog(
    workspace: Workspace, instance: dg.DagsterInstance, plan: CatalogPlan, *, dry_run: bool
) -> None:
    """Tell Dagster of the catalog, if it knows none: shards would show as outdated without it."""
    key = asset_key(workspace.kind.spec.name, CommonStage.CATALOG)
    if dry_run or instance.get_latest_materialization_event(key) is not None:
        return
    event = dg.AssetMaterialization(
        key,
        metadata={
            "dagster/uri": str(workspace.paths.catalog),
            "dagster/row_count": plan.num_rows,
            "medassets/planned": plan.num_planned,
            "medassets/held": plan.num_held,
            "medassets/shards": len(plan.partitions),
        },
        tags={"dagster/data_version": plan.version},
    )
    instance.report_runless_asset_event(event)


class ReconcileConfig(dg.Config):
    """Settings of one reconciliation.

    Attributes:
        dry_run: Write nothing; the run fails if there is anything to do.
        full: Read every byte of every shard, and prove tars without a record.
    """

    dry_run: bool = False
    full: bool = False


def build_reconcile_job(kinds: Sequence[DatasetKind]) -> dg.JobDefinition:
    """Return the job `<dataset>_reconcile`; see `reconcile`.

    Args:
        kinds: The stages of one dataset; the one to train on is first.
    """
    name = kinds[0].spec.name

    @dg.op(name=f"{name}__reconcile")
    def reconcile_dataset(
        context: dg.OpExecutionContext, config: ReconcileConfig, workspace: WorkspaceResource
    ) -> None:
        with explained_failures(context.run.tags):
            opened = [workspace.open(kind) for kind in kinds]
            found = reconcile(opened, context.instance, dry_run=config.dry_run, full=config.full)
        for line in found.lines():
            context.log.info(line)
        if not found.is_settled:
            raise dg.Failure("\n".join(found.problems) or "a dry run found work to do")

    @dg.job(
        name=f"{name}_reconcile",
        executor_def=dg.in_process_executor,
        tags={DATASET_TAG: name},
        description="Brings catalog, shards and Dagster's record in line, without computing.",
    )
    def reconcile_job() -> None:
        reconcile_dataset()

    return reconcile_job

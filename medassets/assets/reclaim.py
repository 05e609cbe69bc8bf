"""The asset that deletes sources that are proven to be in a complete shard."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from medassets.assets.keys import asset_key
from medassets.assets.metadata import shorten
from medassets.assets.partitions import backfill_policy, shard_partitions
from medassets.datasets.kind import DatasetKind
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError, UsageError
from medassets.io_managers.failures import explained_failures
from medassets.progress import ShardReclaimed, report
from medassets.reclaim.claims import Declarations, Others
from medassets.reclaim.partition import CONFIRMATION, reclaim_partition
from medassets.reclaim.report import ReclaimReport
from medassets.resources.workspace import WorkspaceResource
from medassets.stages import CommonStage, VolumeStage

_CHECK = "every_source_proven"
# An event row stays under 32 KB, and has four lists at most.
_MOST_LIST_BYTES = 6000


class ReclaimConfig(dg.Config):
    """Settings of one run.

    Attributes:
        confirm: The word DELETE lets this run delete source files; without it, the run only lists
            what it would delete.
        num_workers: Threads that compare; 0 takes the declaration's number.
    """

    confirm: str = ""
    num_workers: int = 0

    def is_confirmed(self) -> bool:
        """Tell whether the word was typed.

        Raises:
            UsageError: If another word was typed.
        """
        if self.confirm not in ("", CONFIRMATION):
            raise UsageError(
                field="confirm", what=f"expected {CONFIRMATION} or nothing, got {self.confirm!r}"
            )
        return self.confirm == CONFIRMATION


def build_reclaim_asset(kind: DatasetKind) -> dg.AssetsDefinition:
    """Return the partitioned asset `[<dataset>, reclaimed_sources]`.

    A partition is materialized when none of its deletable sources is left. A run without the typed
    word is recorded as an observation and materializes nothing. The asset has a group of its own, so
    that *Materialize all* of the dataset's group leaves it out.
    """
    spec = kind.spec
    key = asset_key(spec.name, VolumeStage.RECLAIMED_SOURCES)

    @dg.asset(
        key=key,
        group_name=f"{spec.name}_{VolumeStage.RECLAIMED_SOURCES}",
        partitions_def=shard_partitions(spec),
        backfill_policy=backfill_policy(spec),
        deps=[asset_key(spec.name, stage) for stage in (CommonStage.CATALOG, kind.stage)],
        check_specs=[dg.AssetCheckSpec(_CHECK, asset=key, description=_describe_check())],
        output_required=False,
        description=(
            "Deletes the source files of a shard after each was proven to be in it. Lists them only, "
            f"unless the run's config says confirm: {CONFIRMATION}."
        ),
    )
    def reclaimed_sources(
        context: dg.AssetExecutionContext,
        config: ReclaimConfig,
        workspace: WorkspaceResource,
        declarations: dg.ResourceParam[Declarations],
    ) -> Iterator[Any]:
        with explained_failures(context.run.tags):
            others = declarations.open_others(spec.name, workspace.open)
            reports = _reclaim(context, workspace.open(kind), others, config)
        yield _check_result(reports)
        with explained_failures(context.run.tags):
            _check_trouble(reports)
        if config.is_confirmed():
            yield dg.MaterializeResult(metadata=_metadata_of_all(reports))

    return reclaimed_sources


def _describe_check() -> str:
    return "Every source that may be deleted is proven to be in its shard; kept files are named."


def _reclaim(
    context: dg.AssetExecutionContext, workspace: Workspace, others: Others, config: ReclaimConfig
) -> list[ReclaimReport]:
    reports: list[ReclaimReport] = []
    confirmed, keys = config.is_confirmed(), sorted(context.partition_keys)
    for key in keys:
        done = _reclaim_one(workspace, key, others, config)
        reports.append(done)
        metadata = reclaim_metadata(done)
        if not confirmed:
            context.log_event(
                dg.AssetObservation(context.asset_key, partition=key, metadata=metadata)
            )
        elif not done.troubles and len(keys) > 1:
            # As with shards: on the record at once, and once more with the step's closing event.
            context.add_asset_metadata(metadata, partition_key=key)
            context.log_event(
                dg.AssetMaterialization(context.asset_key, partition=key, metadata=metadata)
            )
    return reports


def _reclaim_one(
    workspace: Workspace, key: str, others: Others, config: ReclaimConfig
) -> ReclaimReport:
    """Reclaim the sources of one shard; a refusal is in the report and does not end a range."""
    confirmed = config.is_confirmed()
    try:
        return reclaim_partition(
            workspace,
            key,
            confirmed=confirmed,
            others=others,
            num_workers=config.num_workers,
            observe=report,
        )
    except ReclaimError as error:
        refused = ReclaimReport(key, confirmed, problems=[str(error)])
        report(ShardReclaimed(refused))
        return refused


def reclaim_metadata(done: ReclaimReport) -> dict[str, Any]:
    """Return what was deleted of one shard's sources: counts, bytes, and the files that are kept."""
    listed = {
        "medassets/would_delete": [file.path for file in done.deletable],
        "medassets/kept": [f"{kept.path}: {kept.why}" for kept in done.kept],
        "medassets/vanished": done.vanished,
        "medassets/problems": done.problems,
    }
    return {
        "medassets/dry_run": not done.confirmed,
        "medassets/deleted": len(done.deleted) + len(done.already),
        "medassets/freed_bytes": sum(d.num_bytes for d in (*done.deleted, *done.already)),
        **{name: _list(lines) for name, lines in listed.items() if lines},
    }


def _metadata_of_all(reports: Sequence[ReclaimReport]) -> Mapping[str, Any]:
    # Of a range, each partition has metadata of its own.
    return reclaim_metadata(reports[0]) if len(reports) == 1 else {}


def _check_result(reports: Sequence[ReclaimReport]) -> dg.AssetCheckResult:
    troubles = [f"{one.partition_key}: {line}" for one in reports for line in one.troubles]
    kept = [f"{kept.path}: {kept.why}" for one in reports for kept in one.kept]
    return dg.AssetCheckResult(
        check_name=_CHECK,
        passed=not troubles and not kept,
        severity=dg.AssetCheckSeverity.ERROR if troubles else dg.AssetCheckSeverity.WARN,
        metadata={
            "dry_run": not all(one.confirmed for one in reports),
            "troubles": _list(troubles),
            "kept": _list(kept),
        },
    )


def _check_trouble(reports: Sequence[ReclaimReport]) -> None:
    """Fail a confirmed run that could not delete something.

    Raises:
        ReclaimError: Naming the first troubles.
    """
    troubles = [line for one in reports for line in one.troubles]
    if troubles and any(one.confirmed for one in reports):
        shown = "; ".join(shorten(line) for line in troubles[:5])
        more = f" and {len(troubles) - 5} more" if len(troubles) > 5 else ""
        what = "1 problem" if len(troubles) == 1 else f"{len(troubles)} problems"
        msg = f"sources were kept because of {what}: {shown}{more}"
        raise ReclaimError(msg)


def _list(lines: Sequence[str]) -> dg.MarkdownMetadataValue:
    shown: list[str] = []
    room = _MOST_LIST_BYTES
    for line in map(shorten, lines):
        # As the database has it: what is not ASCII takes six bytes or more.
        room -= len(line.encode("ascii", "backslashreplace")) + len("\\n- ")
        if room < 0:
            break
        shown.append(f"- {line}")
    more = [f"- and {len(lines) - len(shown)} more"] if len(lines) > len(shown) else []
    return dg.MetadataValue.md("\n".join([*shown, *more]) or "none")

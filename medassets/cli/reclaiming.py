"""Deletes sources from the terminal: confirmation, runs and their report."""

import sys
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import click
import pyarrow.parquet as pq

from medassets.assets.keys import asset_key
from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.session import Session
from medassets.datasets.registry import check_option
from medassets.datasets.workspace import Workspace
from medassets.errors import Reason, ReclaimError, SpecError
from medassets.reclaim.claims import Needs, Others
from medassets.reclaim.partition import CONFIRMATION, is_reclaimed, reclaim_partition
from medassets.reclaim.remaining import Deletable
from medassets.reclaim.report import Kept, ReclaimReport
from medassets.shards.catalog.previous import explain_unreadable
from medassets.stages import VolumeStage
from medassets.storage.arrow import kernels

_MOST_NAMES = 20


def check_may_delete(workspace: Workspace, others: Others) -> None:
    """Check that the declaration allows deletion, and that the needs of other datasets are known.

    Raises:
        UsageError: If the kind of dataset never deletes sources.
        SpecError: If the declaration does not allow it.
        ReclaimError: If the needs of another dataset cannot be determined.
    """
    spec = workspace.kind.spec
    check_option(workspace.kind, "--delete-sources")
    if not workspace.source.is_local:
        what = f"the sources of {spec.name} are on a hub; only files of this machine can be deleted"
        raise SpecError(field="delete_sources", what=what)
    if not getattr(spec, "delete_sources", False):
        what = (
            f"the declaration of {spec.name} keeps its sources; write "
            f"`delete_sources: true` there to let them be deleted"
        )
        raise SpecError(field="delete_sources", what=what)
    # Checked before the build too, so that no build starts that could not delete in the end.
    Needs(workspace, others)


def ask_for_confirmation(
    output: Output, dataset: str, deletable: Deletable, *, yes: bool, otherwise: str
) -> bool:
    """Return whether the user typed the word that lets a run delete source files.

    Args:
        output: Where the warning goes.
        dataset: Dataset whose sources are deleted.
        deletable: Files that may be deleted at most.
        yes: The user said so on the command line; nothing is asked.
        otherwise: What happens if the user does not confirm.
    """
    if yes:
        return True
    output.warn(
        f"{dataset}: up to {count_words(deletable.num_files, 'source file')}, "
        f"{format_bytes(deletable.num_bytes)}, may be deleted: each one that is proven to be in a "
        f"shard. This cannot be undone."
    )
    if _read_word().strip() == CONFIRMATION:
        return True
    output.warn(f"{dataset}: not confirmed; {otherwise}")
    return False


def _read_word() -> str:
    if sys.stdin is None:
        # Python found it closed.
        return ""
    try:
        return click.prompt(
            f"Type {CONFIRMATION} to continue", default="", show_default=False, err=True
        )
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        # No terminal, or Ctrl-D.
        return ""


def reclaim_config(dataset: str, num_workers: int) -> dict[str, dict[str, object]]:
    """Return the config of a run that may delete sources."""
    settings = {"confirm": CONFIRMATION, "num_workers": num_workers}
    return {f"{dataset}__{VolumeStage.RECLAIMED_SOURCES}": settings}


def count_excluded(workspace: Workspace) -> dict[str, int]:
    """Count the catalog rows whose file is permanently in no shard, by reason.

    Rows without a file are not counted.

    Raises:
        CatalogError: If there is no catalog, or it cannot be read.
    """
    # Raises the error for a missing catalog.
    workspace.read_plan()
    with explain_unreadable(workspace.paths.catalog):
        rows = pq.read_table(workspace.paths.catalog, columns=["excluded", "path"])
    reasons = rows["excluded"].filter(kernels.is_valid(rows["path"])).drop_null()
    counts = Counter(reasons.to_pylist())
    del counts[str(Reason.MISSING_SOURCE)]
    return dict(sorted(counts.items()))


def list_recorded(session: Session, dataset: str) -> Collection[str]:
    """Return the shards whose deletion of sources is in Dagster's record."""
    return session.instance.get_materialized_partitions(
        asset_key(dataset, VolumeStage.RECLAIMED_SOURCES)
    )


def report_if_done(
    workspace: Workspace, partition_key: str, recorded: Collection[str]
) -> ReclaimReport | None:
    """Return the report of a shard whose sources are already deleted; None if a run is needed.

    Args:
        workspace: The dataset.
        partition_key: The shard.
        recorded: Shards whose deletion is in Dagster's record. A kill between deletion and record
            leaves one out, and the next run adds it.
    """
    try:
        if partition_key in recorded and is_reclaimed(workspace, partition_key):
            # No file is left that another dataset could claim.
            return reclaim_partition(workspace, partition_key, confirmed=False, others=Others())
    except ReclaimError:
        # The run reports the error and fails for this shard only.
        return None
    return None


@dataclass
class Reclaimed:
    """The result of deletion for several shards.

    Attributes:
        reports: One per shard that was looked at.
        remaining: Files that are still there and that no report names, with the state of their
            shard.
        excluded: Rows of the catalog that name a file but cannot be in a shard, by reason.
        is_confirmed: Files may be deleted, so that a count of zero is reported too.
    """

    reports: list[ReclaimReport] = field(default_factory=list)
    remaining: list[Kept] = field(default_factory=list)
    excluded: dict[str, int] = field(default_factory=dict)
    is_confirmed: bool = False

    @property
    def num_deleted(self) -> int:
        """Files that were deleted by these runs."""
        return sum(len(report.deleted) for report in self.reports)

    @property
    def freed_bytes(self) -> int:
        """Bytes of those files."""
        return sum(report.freed_bytes for report in self.reports)

    @property
    def kept(self) -> list[Kept]:
        """All files that are still there and whose samples have a shard, and why."""
        return [*(one for report in self.reports for one in report.kept), *self.remaining]

    @property
    def troubles(self) -> list[str]:
        """Problems that need attention, each with its shard."""
        return [f"{r.partition_key}: {line}" for r in self.reports for line in r.troubles]

    def lines(self) -> list[str]:
        """Return the lines for the terminal; the last line says what was kept, and why."""
        if not self.reports and not self.is_confirmed:
            return []
        parts = [f"{count_words(self.num_deleted, 'source')} deleted"]
        parts[0] += f", {format_bytes(self.freed_bytes)} freed"
        if vanished := sum(len(report.vanished) for report in self.reports):
            parts.append(f"{vanished:,} deleted earlier by another program")
        return [f"  {'; '.join(parts)}", self._describe_kept()]

    def line(self) -> str:
        """Return the same in one line."""
        return "; ".join(line.strip() for line in self.lines())

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form, with every file."""
        return {
            "deleted": [d.path for report in self.reports for d in report.deleted],
            "freed_bytes": self.freed_bytes,
            "would_delete": [
                {"path": file.path, "partition": report.partition_key}
                for report in self.reports
                for file in report.deletable
            ],
            "vanished": [path for report in self.reports for path in report.vanished],
            "kept": [
                {"path": kept.path, "bytes": kept.num_bytes, "why": kept.why} for kept in self.kept
            ],
            "troubles": self.troubles,
        }

    def _describe_kept(self) -> str:
        kept = self.kept
        stopped = [report for report in self.reports if report.problems]
        words = [f"{count_words(len(kept), 'source')} kept"]
        if kept:
            reasons = Counter(one.why.partition(":")[0] for one in kept)
            words[0] += f" ({', '.join(_name_some([one.path for one in kept]))})"
            words += [f"{count:,} because {why}" for why, count in reasons.most_common(3)]
        if stopped:
            names = ", ".join(_name_some([report.partition_key for report in stopped]))
            words.append(
                f"nothing of {names} was deleted: the shard differs from what its sources make"
            )
        if self.excluded:
            words.append(_describe_excluded(self.excluded))
        return f"  {'; '.join(words)}"


def _describe_excluded(excluded: Mapping[str, int]) -> str:
    count = sum(excluded.values())
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in sorted(excluded.items()))
    were, their = ("was", "its file stays") if count == 1 else ("were", "their files stay")
    return f"{count_words(count, 'excluded row')} {were} never converted, {their} ({reasons})"


def _name_some(names: Sequence[str]) -> list[str]:
    more = [f"and {len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    return [*names[:_MOST_NAMES], *more]

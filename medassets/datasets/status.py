"""What is done and what is left: Dagster's record and the bytes on disk, never one alone."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from medassets.datasets.accounts import Books, open_books
from medassets.datasets.upstream.outages import find_completing
from medassets.datasets.workspace import Workspace
from medassets.errors import TRANSIENT_REASONS, Reason
from medassets.shards.account import Left, ShardFindings
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.files import find_unfinished


class ShardState(StrEnum):
    """State of one planned shard."""

    DONE = "done"
    """Materialized, on disk with its recorded size, made from today's inputs."""

    MISSING = "missing"
    """Never made."""

    FAILED = "failed"
    """The last try failed and nothing was published; an older shard may be on disk."""

    STALE = "stale"
    """On disk, but made from other inputs or by other settings."""

    ORPHANED = "orphaned"
    """On disk and whole, but unknown to Dagster, or a run was killed at it; a build settles that
    without computing."""

    LOST = "lost"
    """Its tar or record is damaged or gone, or Dagster knows it and the disk does not hold it."""


@dataclass(frozen=True)
class Recorded:
    """What Dagster knows of a dataset's shards.

    Attributes:
        materialized: Partition keys with a materialization.
        failed: Partition keys whose latest run failed.
    """

    materialized: Collection[str]
    failed: Collection[str]


def shard_states(
    workspace: Workspace, recorded: Recorded, *, books: Books | None = None
) -> dict[str, ShardState]:
    """Return the state of every planned shard, in the order of the plan.

    Args:
        workspace: The dataset and stage.
        recorded: What Dagster knows.
        books: What was read of the disk; None reads it.

    Raises:
        CatalogError: If there is no catalog yet.
    """
    books = books or open_books(workspace)
    states = {key: _state(key, found, recorded) for key, found in books.shards.items()}
    for key in _touched(workspace, books.plan):
        if states[key] is ShardState.DONE:
            states[key] = ShardState.ORPHANED
    return states


def find_transient_rejections(
    workspace: Workspace, books: Books, states: Mapping[str, ShardState]
) -> dict[str, dict[str, int]]:
    """Return which done shards lack samples that another try may give.

    A sample whose file was missing is one of them once the file is back.

    Args:
        workspace: The dataset and stage.
        books: What is on disk of the stage.
        states: State of each shard.

    Returns:
        Partition key -> reason -> number of samples, of such shards only.
    """
    found: dict[str, dict[str, int]] = {}
    for key, state in states.items():
        record = books.shards[key].record if state is ShardState.DONE else None
        rejected = record.rejected if record is not None else ()
        counts = Counter(item.reason for item in rejected if item.reason in TRANSIENT_REASONS)
        if record is not None and (returned := find_completing(workspace, record)):
            counts[str(Reason.MISSING_UPSTREAM)] = len(returned)
        if counts:
            found[key] = dict(sorted(counts.items()))
    return found


def _touched(workspace: Workspace, plan: CatalogPlan) -> list[str]:
    found: list[str] = []
    for split, keys in plan.splits().items():
        names = find_unfinished(workspace.paths.split_folder(split))
        found += [key for key in keys if workspace.paths.shard(key).stem in names]
    return found


def _state(key: str, found: ShardFindings, recorded: Recorded) -> ShardState:
    known = key in recorded.materialized
    if found.record is not None:
        return ShardState.DONE if known and key not in recorded.failed else ShardState.ORPHANED
    if found.left in (Left.FAILED, Left.STALE):
        return ShardState(found.left)
    if key in recorded.failed:
        return ShardState.FAILED
    # What is on disk and is no whole shard is lost, whether Dagster knows it or not.
    return ShardState.LOST if known or found.left is Left.LOST else ShardState.MISSING

"""Which shards want making now: what the disk lacks, less what was tried too lately to try again."""

import os
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from medassets.datasets.automation.attempts import Attempts, is_ahead, name_item
from medassets.datasets.build import today_fingerprints
from medassets.datasets.recovery.places import has_shards
from medassets.datasets.upstream.outages import find_completing, find_returned
from medassets.datasets.workspace import Workspace
from medassets.shards.account import Left
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.failure import read_failure
from medassets.shards.files import ShardHead, read_head, read_whole_record
from medassets.stages import CommonStage
from medassets.storage.checksums import fingerprint
from medassets.storage.paths import name_shard, split_partition_key

MOST_AT_ONCE = 128
"""Shards of a stage that are asked for and not yet made.

All of ten thousand at once would each fail in turn when the source goes away.
"""

_CATALOG = name_item(CommonStage.CATALOG)

_LOOKED_S = 600.0
"""How long it takes until a file that was missing is looked for again."""

_LOOKED: dict[Path, tuple[str, float]] = {}
"""Record -> digest of its tar, and when its missing files were looked for in vain."""

_LONGEST_WAIT_S = 3600.0
"""How long a manifest waits while shards are made without a pause."""


@dataclass(frozen=True)
class DiskState:
    """One look at the shards of a stage on disk; ten thousand take a fifth of a second.

    No list of samples is read.

    Attributes:
        workspace: The dataset and stage.
        plan: Its plan.
        heads: Partition key of each shard with files on disk -> head of its record, None if it is not
            whole.
    """

    workspace: Workspace
    plan: CatalogPlan
    heads: Mapping[str, ShardHead | None]

    @cached_property
    def today(self) -> dict[str, str]:
        """Partition key -> fingerprint that a shard made today would have."""
        return today_fingerprints(self.workspace, self.plan)

    @cached_property
    def left(self) -> dict[str, Left]:
        """The planned shards that are not whole and of today's inputs, in order."""
        left: dict[str, Left] = {}
        for key in self.plan.partitions:
            head = self.heads.get(key)
            if head is None:
                left[key] = Left.LOST if key in self.heads else Left.MISSING
            elif head.plan_fingerprint != self.today[key]:
                left[key] = Left.STALE
        return left

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of what a manifest lists: the plan, and the shards on disk."""
        plan = self.plan
        found = {key: [head.sha256, head.plan_fingerprint] for key, head in self._whole()}
        kind = self.workspace.kind.fingerprint()
        return fingerprint([plan.version, plan.notes, kind, found])

    @cached_property
    def reclaimed(self) -> frozenset[str]:
        """Partition keys of shards whose sources were deleted, or were about to be."""
        journal = self.workspace.paths.reclaim_journal
        found = {
            (split, name)
            for split, keys in self.plan.splits().items()
            for name in _scan(str(journal(keys[0]).parent))
        }
        if not found:
            return frozenset()
        places = {key: journal(key) for key in self.plan.partitions}
        return frozenset(k for k, path in places.items() if (path.parent.name, path.name) in found)

    def _whole(self) -> Iterator[tuple[str, ShardHead]]:
        return ((key, head) for key, head in self.heads.items() if head is not None)


def look_at_disk(workspace: Workspace) -> DiskState:
    """Return the state of the shards of a stage.

    Raises:
        CatalogError: If there is no catalog yet, or it cannot be read.
    """
    plan = workspace.read_plan()
    return DiskState(workspace, plan, _read_heads(workspace, plan))


def _read_heads(workspace: Workspace, plan: CatalogPlan) -> dict[str, ShardHead | None]:
    heads: dict[str, ShardHead | None] = {}
    for split, keys in plan.splits().items():
        found = _scan(str(workspace.paths.split_folder(split)))
        for key in keys:
            name = name_shard(key)
            record, tar = found.get(f"{name}.json"), found.get(f"{name}.tar")
            if record is None and tar is None:
                continue
            head = _read_head(record.path, *_signature(record)) if record is not None else None
            place = (workspace.paths.dataset, key, split, f"{name}.tar")
            size = tar.stat().st_size if tar is not None and not tar.is_symlink() else None
            is_whole = head is not None and (head.size_bytes, head.place) == (size, place)
            heads[key] = head if is_whole else None
    return heads


def _scan(folder: str) -> dict[str, "os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries if entry.is_file()}
    except (FileNotFoundError, NotADirectoryError):
        return {}


def _signature(entry: "os.DirEntry[str]") -> tuple[int, int, int]:
    stat = entry.stat()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


@lru_cache(maxsize=1 << 16)
def _read_head(path: str, _mtime_ns: int, _size: int, _inode: int) -> ShardHead | None:
    return read_head(Path(path))


def list_due(
    state: DiskState,
    attempts: Attempts,
    *,
    now: float,
    upstream: DiskState | None = None,
    recorded_failed: Collection[str] = (),
) -> list[str]:
    """Return the shards that want making and may be tried now, in the order of the plan.

    A shard whose sources were deleted is not among them: no build makes it again. One that lacks samples
    because their files were missing is, as soon as they are back, however often it failed.

    Args:
        state: The shards on disk.
        attempts: What was tried.
        now: Seconds since 1970.
        upstream: Stage whose shards these are made of; a shard waits for its own.
        recorded_failed: Shards that failed as Dagster recorded it. One that is whole all the same, because
            the database was lost at the end of its run, is taken over by another run.
    """
    waiting = upstream.left if upstream is not None else {}
    # What is made of another stage has its files from there.
    is_direct = upstream is None
    return [
        key
        for key in state.plan.partitions
        if key not in waiting
        and key not in state.reclaimed
        and _is_due(
            state, key, attempts, now, is_failed=key in recorded_failed, is_direct=is_direct
        )
    ]


def _is_due(
    state: DiskState, key: str, attempts: Attempts, now: float, *, is_failed: bool, is_direct: bool
) -> bool:
    item, today = name_item(state.workspace.kind.stage, key), state.today[key]
    if key in state.left or is_failed:
        if attempts.is_due(item, today, now):
            return True
        tries = attempts.find(item, today)
        return is_direct and tries is not None and tries.failures > 0 and _is_mended(state, key)
    return is_direct and attempts.is_due(item, today, now) and _has_returned(state, key, now)


def _is_mended(state: DiskState, key: str) -> bool:
    """Return whether files that a shard failed for are there now."""
    note = read_failure(state.workspace.paths, key, state.today[key])
    return note is not None and bool(find_returned(state.workspace, key, note.rejected))


def _has_returned(state: DiskState, key: str, now: float) -> bool:
    """Return whether a file is there now that a whole shard lacks a sample for."""
    head, paths = state.heads.get(key), state.workspace.paths
    if head is None or not head.has_rejected or state.workspace.source.pinned:
        return False
    place = paths.record(key)
    digest, looked = _LOOKED.get(place, ("", -_LOOKED_S))
    if digest == head.sha256 and 0 <= now - looked < _LOOKED_S:
        return False
    record = read_whole_record(paths, key, state.today[key])
    if record is not None and find_completing(state.workspace, record):
        return True
    _LOOKED[place] = head.sha256, now
    return False


def pick(
    due: Iterable[str], attempts: Attempts, *, stage: str, busy: Collection[str], now: float
) -> list[str]:
    """Return which of the shards that are due are asked for now.

    While the source is away, that is one at a time, the one that was not tried for the longest:
    its outcome says whether the source is back.

    Args:
        due: Partition keys, in the order of the plan.
        attempts: What was tried.
        stage: The stage.
        busy: Partition keys that a run or backfill makes already.
        now: Seconds since 1970.
    """
    free = [key for key in due if key not in busy]
    if attempts.away is not None:
        if attempts.is_held_back(now) or busy:
            return []
        return sorted(free, key=lambda key: _last_try(attempts, name_item(stage, key)))[:1]
    # By halves, so that ten thousand shards are some dozens of backfills, not thousands.
    return free[: MOST_AT_ONCE - len(busy)] if len(busy) <= MOST_AT_ONCE // 2 else []


def _last_try(attempts: Attempts, item: str) -> float:
    tries = attempts.tries.get(item)
    return tries.last_at if tries is not None else 0.0


def wants_refresh(
    workspace: Workspace, attempts: Attempts, *, known: Collection[str], now: float
) -> bool:
    """Return whether automation starts a refresh of the catalog now; see `needs_refresh`.

    Args:
        workspace: The dataset.
        attempts: What was tried.
        known: Partition keys that Dagster knows.
        now: Seconds since 1970.
    """
    if attempts.is_held_back(now) or not attempts.is_due(_CATALOG, "", now):
        return False
    return needs_refresh(workspace, attempts, known=known)


def needs_refresh(workspace: Workspace, attempts: Attempts, *, known: Collection[str]) -> bool:
    """Return whether automation starts a refresh of the catalog, now or when it is due.

    It does when there is none yet, when the last refresh failed or was killed, and when Dagster
    lacks shards of the plan. A refresh that failed too often is left to the schedule. Where shards
    are on disk without a catalog, the plan was lost: it is restored, and not made anew unasked.

    Args:
        workspace: The dataset.
        attempts: What was tried.
        known: Partition keys that Dagster knows.
    """
    tries = attempts.find(_CATALOG, "")
    if tries is not None and tries.next_at is None:
        return False
    if workspace.paths.catalog.exists():
        return tries is not None or bool(workspace.read_plan().partitions.keys() - set(known))
    return not has_shards(workspace.paths)


def wants_manifest(state: DiskState, attempts: Attempts, *, name: str, now: float) -> bool:
    """Return whether the shards on disk are others than when the manifest was last written, or it is gone.

    Without a shard there is nothing to list. It waits for shards that are about to be made, an hour at
    most.

    Args:
        state: The shards that the manifest lists.
        attempts: What was tried.
        name: Name of the manifest's asset.
        now: Seconds since 1970.
    """
    if not any(state.heads.values()):
        return False
    if attempts.written.get(name) == state.fingerprint and _has_manifests(state):
        return False
    if not attempts.is_due(name_item(name), state.fingerprint, now):
        return False
    is_settled = attempts.is_held_back(now) or not list_due(state, attempts, now=now)
    return is_settled or is_overdue(state.workspace, now=now)


def _has_manifests(state: DiskState) -> bool:
    """Return whether each split with a whole shard has its manifest."""
    whole = {split_partition_key(key)[0] for key, head in state.heads.items() if head is not None}
    return all(state.workspace.paths.manifest(split).exists() for split in whole)


def is_overdue(workspace: Workspace, *, now: float) -> bool:
    """Return whether manifests are an hour old, or there are none an hour after the plan.

    One of a clock that was set back by more than an hour since is.
    """
    paths = workspace.paths
    manifests = [paths.manifest(split) for split in workspace.kind.spec.splits]
    times = [path.stat().st_mtime for path in manifests if path.exists()]
    if not times and paths.catalog.exists():
        times = [paths.catalog.stat().st_mtime]
    return abs(now - max(times, default=now)) > _LONGEST_WAIT_S


def describe_waiting(state: DiskState, attempts: Attempts, *, now: float) -> str:
    """Return how many shards are left that are not started now, and why; empty if none are left.

    Args:
        state: The shards on disk.
        attempts: What was tried.
        now: Seconds since 1970.
    """
    stage, left = state.workspace.kind.stage, [k for k in state.left if k not in state.reclaimed]
    if left and attempts.away is not None and attempts.is_held_back(now):
        seconds = attempts.away.next_at - now
        return f"{len(left)} shards wait, looked at in {seconds:.0f} s: {attempts.away.error}"
    tried = [attempts.find(name_item(stage, key), state.today[key]) for key in left]
    found = [one for one in tried if one is not None and not is_ahead(one.last_at, now)]
    times = [one.next_at for one in found if one.next_at is not None and one.next_at > now]
    num_failed = sum(one.next_at is None for one in found)
    parts = [f"{len(times)} shards wait, tried again in {min(times) - now:.0f} s"] if times else []
    parts += [f"{num_failed} shards were left as failed"] if num_failed else []
    return "; ".join(parts)


def seconds_now() -> float:
    """Return the time, in seconds since 1970."""
    return time.time()

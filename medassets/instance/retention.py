"""Removes what runs and ticks of long ago left behind; which shards they made stays on record.

Dagster has no command for it: `delete_run` also forgets the shard that the run made, and a tick that
Dagster removes leaves its log.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import sqlalchemy as sa

# None of these has a public name.
from dagster._core.scheduler.instigation import InstigatorState, TickStatus
from dagster._core.storage.compute_log_manager import ComputeIOType
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

_BATCH = 200
_EVALUATION_DAYS = 7
# With its main file go those of SQLite's write-ahead log.
_SUFFIXES = ("", "-wal", "-shm")
# What tells which partitions are made and which runs failed.
_KEPT_EVENTS = ("PIPELINE_SUCCESS", "PIPELINE_FAILURE", "PIPELINE_CANCELED")


def purge_old_runs(
    instance: dg.DagsterInstance, *, keep_days: int, now: datetime | None = None
) -> int:
    """Remove logs of runs that ended long ago, and old evaluations of automation.

    The run stays in the list of runs, and its shard materialized with its metadata; its log is
    empty from then on.

    Args:
        instance: The instance.
        keep_days: Age in days from which on a finished run's log is removed.
        now: Time from which the age is counted; None is the present.

    Returns:
        Number of runs whose logs were removed.
    """
    now = now or datetime.now(UTC)
    before = now - timedelta(days=keep_days)
    if instance.schedule_storage is not None:
        evaluated = now - timedelta(days=min(keep_days, _EVALUATION_DAYS))
        instance.schedule_storage.purge_asset_evaluations(before=evaluated.timestamp())
    storage = instance.event_log_storage
    if isinstance(storage, SqliteEventLogStorage):
        return _purge_files(instance, storage, before)
    if isinstance(storage, SqlEventLogStorage):
        return _purge_rows(instance, storage, before)
    return 0


def purge_tick_logs(
    instance: dg.DagsterInstance, *, keep_days: int, now: datetime | None = None
) -> int:
    """Remove what schedules and sensors logged at ticks of long ago, about 9 kB for each evaluation.

    A log is kept for as long as `retention` of `dagster.yaml` keeps the tick.

    Args:
        instance: The instance.
        keep_days: Age in days from which on a log is removed in any case.
        now: Time from which the age is counted; None is the present.

    Returns:
        Number of logs that were removed.
    """
    logs = instance.compute_log_manager
    if instance.schedule_storage is None or not isinstance(logs, LocalComputeLogManager):
        return 0
    now, num_removed = now or datetime.now(UTC), 0
    for state in instance.all_instigator_state():
        days = min(keep_days, _days_of_ticks(instance, state, default=keep_days))
        before = (now - timedelta(days=days)).timestamp()
        for key in _list_tick_logs(logs, state, before):
            logs.delete_logs(log_key=key)
            num_removed += 1
    return num_removed


def _days_of_ticks(instance: dg.DagsterInstance, state: InstigatorState, *, default: int) -> int:
    """Return for how many days at most the ticks of a schedule or sensor are kept."""
    kept = instance.get_tick_retention_settings(state.instigator_type)
    # Dagster counts the days of a tick that never ended apart; it has no result to explain.
    ended = [days for status, days in kept.items() if status is not TickStatus.STARTED]
    # A negative number keeps them all.
    return max(ended) if ended and min(ended) >= 0 else default


def _list_tick_logs(
    logs: LocalComputeLogManager, state: InstigatorState, before: float
) -> Iterator[Sequence[str]]:
    """Yield the keys of what a schedule or sensor logged before a time, in seconds since 1970."""
    folder = [state.repository_selector.repository_name, state.instigator_name]
    try:
        keys = logs.get_log_keys_for_log_key_prefix(folder, ComputeIOType.STDERR)
    except FileNotFoundError:
        # It never logged anything.
        return
    for key in keys:
        path = logs.get_captured_local_path(key, "err")
        if Path(path).stat().st_mtime < before:
            yield key


def _purge_files(
    instance: dg.DagsterInstance, storage: SqliteEventLogStorage, before: datetime
) -> int:
    num_purged = 0
    for run_id in _list_ended(instance, storage.get_all_run_ids(), before):
        _remove_output(instance, run_id)
        for suffix in _SUFFIXES:
            Path(storage.path_for_shard(run_id) + suffix).unlink(missing_ok=True)
        num_purged += 1
    return num_purged


def _purge_rows(instance: dg.DagsterInstance, storage: SqlEventLogStorage, before: datetime) -> int:
    events = SqlEventLogStorageTable.c
    kind = sa.func.coalesce(events.dagster_event_type, "")
    is_log = sa.not_(kind.startswith("ASSET")) & kind.not_in(_KEPT_EVENTS)
    with storage.index_connection() as connection:
        found = connection.execute(
            sa.select(events.run_id).where(is_log, events.timestamp < before).distinct()
        )
        candidates = [row[0] for row in found]
    num_purged = 0
    for run_id in _list_ended(instance, candidates, before):
        _remove_output(instance, run_id)
        with storage.index_connection() as connection:
            connection.execute(
                SqlEventLogStorageTable.delete().where(events.run_id == run_id, is_log)
            )
        num_purged += 1
    return num_purged


def _list_ended(
    instance: dg.DagsterInstance, run_ids: Sequence[str], before: datetime
) -> Iterator[str]:
    """Yield those of some runs that ended before a time."""
    for some in _batches(run_ids):
        wanted = dg.RunsFilter(run_ids=some, statuses=FINISHED_STATUSES)
        for record in instance.get_run_records(wanted):
            if record.end_time is not None and record.end_time < before.timestamp():
                yield record.dagster_run.run_id


def _batches(run_ids: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(run_ids), _BATCH):
        yield list(run_ids[start : start + _BATCH])


def _remove_output(instance: dg.DagsterInstance, run_id: str) -> None:
    """Remove what the steps of a run printed."""
    instance.compute_log_manager.delete_logs(prefix=[run_id, "compute_logs"])

"""Ends runs whose process was killed, which Dagster's own launcher does not detect."""

from collections.abc import Sequence

import dagster as dg

from medassets.instance.run_processes import inspect_process
from medassets.storage.processes import Existence

_LAUNCHING = (dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING)
_UNFINISHED = (*_LAUNCHING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def fail_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs as failed whose process on this machine is gone; return their ids.

    Without it a killed run stays "started" in the UI permanently, its partition in progress, and its
    place in the queue taken. A run that was being canceled becomes canceled.
    """
    return _fail_killed(instance, _UNFINISHED)


def fail_killed_launches(instance: dg.DagsterInstance) -> list[str]:
    """Do so for runs that have not begun; Dagster's monitoring asks about started ones only."""
    return _fail_killed(instance, _LAUNCHING)


def _fail_killed(
    instance: dg.DagsterInstance, statuses: Sequence[dg.DagsterRunStatus]
) -> list[str]:
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=statuses)):
        found = inspect_process(instance, run)
        if found.existence is Existence.ENDED and _is_as_listed(instance, run):
            _end(instance, run, found.detail)
            ended.append(run.run_id)
    return ended


def _is_as_listed(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether a run did not go on, end or start again since it was listed."""
    now = instance.get_run_by_id(run.run_id)
    return now is not None and (now.status, now.tags) == (run.status, run.tags)


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, detail: str) -> None:
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"its process was gone: {detail}")
        return
    instance.report_run_failed(
        run,
        f"its process was killed ({detail}); complete shards are kept, the next build continues",
    )

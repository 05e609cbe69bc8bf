"""Ends runs whose process was killed, which Dagster's own launcher does not detect."""

import dagster as dg

from medassets.instance.run_processes import inspect_process
from medassets.storage.processes import Existence

_UNFINISHED = [
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def fail_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs as failed whose process on this machine is gone; return their ids.

    Without it a killed run stays "started" in the UI permanently, its partition in progress, and its
    place in the queue taken. A run that was being canceled becomes canceled.
    """
    ended: list[str] = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_UNFINISHED)):
        found = inspect_process(instance, run)
        if found.existence is Existence.ENDED:
            _end(instance, run, found.detail)
            ended.append(run.run_id)
    return ended


def _end(instance: dg.DagsterInstance, run: dg.DagsterRun, detail: str) -> None:
    if run.status is dg.DagsterRunStatus.CANCELING:
        instance.report_run_canceled(run, f"its process was gone: {detail}")
        return
    instance.report_run_failed(
        run,
        f"its process was killed ({detail}); complete shards are kept, the next build continues",
    )

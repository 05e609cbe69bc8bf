"""Finds runs of this command whose process was killed, which Dagster does not detect."""

import os
import socket

import dagster as dg

from medassets.instance.run_tags import LAUNCHED_BY_TAG, PROCESS_TAG
from medassets.storage.processes import is_alive


def name_process() -> str:
    """Return this process as a tag's value."""
    return f"{socket.gethostname()}:{os.getpid()}"


def fail_killed_runs(instance: dg.DagsterInstance) -> list[str]:
    """Report runs as failed whose process on this machine is gone; return their ids.

    Without it a killed run stays "started" in the UI permanently, and its partition in progress.
    """
    unfinished = dg.RunsFilter(
        tags={LAUNCHED_BY_TAG: "medassets"},
        statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING],
    )
    failed: list[str] = []
    for run in instance.get_runs(unfinished):
        host, _, pid = run.tags.get(PROCESS_TAG, "").rpartition(":")
        if host == socket.gethostname() and pid.isdigit() and not is_alive(int(pid)):
            instance.report_run_failed(
                run, f"process {pid} was killed; complete shards are kept, the next build continues"
            )
            failed.append(run.run_id)
    return failed

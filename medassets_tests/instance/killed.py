"""Runs on record whose process is a living, an ended or somebody else's one."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData

from medassets.storage.processes import ProcessIdentity, find_process

SOCKET = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": "/tmp/a-socket"})}
"""Tag that Dagster gives to runs which it launched through a code server of this machine."""


@contextmanager
def waiting_process() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that waits, until the block is left."""
    with subprocess.Popen(
        [sys.executable, "-c", "print(flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        # Python has its signal handlers now.
        process.stdout.readline()
        yield process
        process.kill()


def identify(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    """Return the identity of a running process."""
    found = find_process(process.pid)
    assert found is not None
    return found


def ended_process() -> ProcessIdentity:
    """Return the identity of a process of this machine that has ended."""
    with waiting_process() as process:
        identity = identify(process)
    return identity


def reused(process: subprocess.Popen[bytes]) -> ProcessIdentity:
    """Return the identity of a process that had the id of a running one before it."""
    identity = identify(process)
    return replace(identity, start_ticks=identity.start_ticks - 1)


def put_run(
    instance: dg.DagsterInstance,
    tags: Mapping[str, str] | None = None,
    *,
    run_id: str | None = None,
    status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED,
) -> dg.DagsterRun:
    """Put an unfinished run on record."""

    @dg.job
    def job() -> None:
        pass

    return instance.create_run_for_job(job, run_id=run_id, status=status, tags=tags)


def put_pid(
    instance: dg.DagsterInstance, run: dg.DagsterRun, pid: int, *, seconds_ago: float = 0.0
) -> None:
    """Put the event on record with which a worker tells its process id."""
    event = DagsterEvent(
        event_type_value=dg.DagsterEventType.ENGINE_EVENT.value,
        job_name=run.job_name,
        message=f"Started process for run (pid: {pid}).",
        event_specific_data=EngineEventData.in_process(pid),
    )
    instance.report_dagster_event(event, run.run_id, timestamp=time.time() - seconds_ago)

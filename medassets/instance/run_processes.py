"""The process that executes a run: which one it is, and whether it still runs.

Dagster does not detect that the process of a started run of its own launcher is gone. This is the one
rule for it, for the launcher's health check and for commands that open the instance.
"""

import json
import math
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

# Neither has a public name.
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.tags import GRPC_INFO_TAG

from medassets.instance.run_tags import LAUNCHER_TAG, PROCESS_TAG, read_tag
from medassets.storage.processes import (
    Existence,
    ProcessIdentity,
    find_process,
    is_listening,
    start_time,
)

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry

# A process writes its event after it starts; the event's clock has microseconds, the start's ticks.
_TOLERANCE_S = 1.0

# Between the event that a run is launched and the tag that names its launcher.
_TAGGED_S = 5.0
# A worker whose code server is dead may still import its modules, before its event. A later one than
# this finds its run ended, and ends.
_BEGUN_S = 30.0


@dataclass(frozen=True)
class RunProcess:
    """What is known of a run's process.

    Attributes:
        existence: Whether it runs; `UNKNOWN` also where no process is named yet.
        process: The running process, where it runs.
        detail: What was found, in words.
    """

    existence: Existence
    process: ProcessIdentity | None = None
    detail: str = ""


def inspect_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunProcess:
    """Tell whether the process of an unfinished run still runs.

    The run's own tag names the process exactly. Without it, the last event with a process id does,
    for runs of this machine's code servers: a process that started after that event is another one
    with the same id. A launched run without such an event has ended with its launcher and code
    server.
    """
    tagged = read_tag(run.tags.get(PROCESS_TAG, ""), run.run_id)
    if tagged is not None:
        return _describe(tagged)
    launcher = read_tag(run.tags.get(LAUNCHER_TAG, ""), run.run_id)
    if launcher is not None and _is_of_another_boot(launcher):
        return _describe(launcher)
    if launcher is None and not _is_local(instance, run):
        return RunProcess(Existence.UNKNOWN, detail="it may run on another machine")
    event = _find_event(instance, run)
    if event is not None:
        return _judge_event(event)
    return _judge_launch(instance, run, launcher)


def _judge_launch(
    instance: dg.DagsterInstance, run: dg.DagsterRun, launcher: ProcessIdentity | None
) -> RunProcess:
    """Judge a run no process of which has reported yet."""
    path = _socket_of(run)
    if path is not None and is_listening(path):
        return RunProcess(Existence.UNKNOWN, detail="no process has reported yet")
    age = _seconds_since_launch(instance, run)
    if launcher is not None and launcher.existence() is Existence.ENDED and age > _TAGGED_S:
        return RunProcess(Existence.ENDED, detail=f"its launcher {launcher} was killed")
    if run.status is dg.DagsterRunStatus.STARTING and age > _BEGUN_S:
        return RunProcess(Existence.ENDED, detail="its launch was interrupted")
    return RunProcess(Existence.UNKNOWN, detail="no process has reported yet")


def _seconds_since_launch(instance: dg.DagsterInstance, run: dg.DagsterRun) -> float:
    launched = instance.get_run_stats(run.run_id).launch_time
    if launched is None or launched > time.time() + _BEGUN_S:
        # The clock was set back since.
        return math.inf
    return time.time() - launched


def _socket_of(run: dg.DagsterRun) -> str | None:
    """Return the socket of the code server that was to start a run; None if it has none."""
    return json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket")


def _describe(process: ProcessIdentity) -> RunProcess:
    existence = process.existence()
    running = process if existence is Existence.RUNNING else None
    return RunProcess(existence, running, f"process {process.pid} of {process.host}")


def _is_of_another_boot(process: ProcessIdentity) -> bool:
    """Tell whether this machine's processes say nothing about a run that `process` launched."""
    here = find_process(1)
    return here is None or (process.host, process.boot_id) != (here.host, here.boot_id)


def _is_local(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Tell whether a run without our tags can only have been started on this machine.

    A code server of the daemon listens on a socket of the file system. A database in files serves
    one machine, PostgreSQL may serve several.
    """
    if GRPC_INFO_TAG in run.tags:
        return _socket_of(run) is not None
    # Earlier versions wrote `host:pid`.
    host, colon, pid = run.tags.get(PROCESS_TAG, "").rpartition(":")
    if colon and pid.isdecimal():
        return host == socket.gethostname()
    is_default = isinstance(instance.run_launcher, dg.DefaultRunLauncher)
    return is_default and isinstance(instance.run_storage, SqliteRunStorage)


def _find_event(instance: dg.DagsterInstance, run: dg.DagsterRun) -> "EventLogEntry | None":
    """Return the last event of a run that names its process id: a run can be launched again."""
    events = instance.all_logs(run.run_id, of_type=dg.DagsterEventType.ENGINE_EVENT)
    return next((event for event in reversed(events) if _read_pid(event) is not None), None)


def _read_pid(event: "EventLogEntry") -> int | None:
    happened = event.dagster_event
    if happened is None or happened.step_key is not None:
        return None
    value = happened.engine_event_data.metadata.get("pid")
    return int(str(value.value)) if value is not None else None


def _judge_event(event: "EventLogEntry") -> RunProcess:
    pid = _read_pid(event)
    assert pid is not None
    found = find_process(pid)
    if found is None:
        return RunProcess(Existence.ENDED, detail=f"process {pid} has ended")
    started = start_time(found)
    if started is not None and started > event.timestamp + _TOLERANCE_S:
        return RunProcess(Existence.ENDED, detail=f"process {pid} is a later one")
    return RunProcess(Existence.RUNNING, found, f"process {pid}")

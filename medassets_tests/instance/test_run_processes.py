"""Whether a run's process still runs: by its tag, by its event, by its launcher."""

import json
import socket
import time
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from medassets.instance.run_processes import inspect_process
from medassets.instance.run_tags import LAUNCHER_TAG, PROCESS_TAG, format_tag
from medassets.storage.processes import Existence, ProcessIdentity, this_process
from medassets_tests.instance.killed import (
    SOCKET,
    ended_process,
    identify,
    put_pid,
    put_run,
    reused,
    waiting_process,
)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def put_tagged(
    instance: dg.DagsterInstance, tag: str, process: ProcessIdentity, **tags: str
) -> dg.DagsterRun:
    run_id = str(uuid.uuid4())
    return put_run(instance, {tag: format_tag(process, run_id), **tags}, run_id=run_id)


def test_a_tagged_process_runs_until_it_ends(instance: dg.DagsterInstance) -> None:
    with waiting_process() as process:
        run = put_tagged(instance, PROCESS_TAG, identify(process))
        found = inspect_process(instance, run)
        assert (found.existence, found.process) == (Existence.RUNNING, identify(process))
    assert inspect_process(instance, run).existence is Existence.ENDED


def test_another_process_with_the_id_of_a_tagged_one_is_not_it(
    instance: dg.DagsterInstance,
) -> None:
    with waiting_process() as process:
        run = put_tagged(instance, PROCESS_TAG, reused(process))
        assert inspect_process(instance, run).existence is Existence.ENDED


@pytest.mark.parametrize("tag", [PROCESS_TAG, LAUNCHER_TAG])
def test_a_reboot_ends_what_ran_before_it(instance: dg.DagsterInstance, tag: str) -> None:
    run = put_tagged(instance, tag, replace(this_process(), boot_id="before"))
    assert inspect_process(instance, run).existence is Existence.ENDED


@pytest.mark.parametrize("tag", [PROCESS_TAG, LAUNCHER_TAG])
def test_nothing_is_known_of_a_run_of_another_machine(
    instance: dg.DagsterInstance, tag: str
) -> None:
    run = put_tagged(instance, tag, replace(this_process(), host="elsewhere"))
    put_pid(instance, run, ended_process().pid)
    assert inspect_process(instance, run).existence is Existence.UNKNOWN


def test_a_tag_that_was_copied_from_another_run_says_nothing(instance: dg.DagsterInstance) -> None:
    copied = format_tag(ended_process(), str(uuid.uuid4()))
    run = put_run(instance, {PROCESS_TAG: copied, LAUNCHER_TAG: copied, **SOCKET})
    assert inspect_process(instance, run).existence is Existence.UNKNOWN


def test_the_event_of_a_worker_names_its_process(instance: dg.DagsterInstance) -> None:
    run = put_tagged(instance, LAUNCHER_TAG, this_process())
    with waiting_process() as process:
        put_pid(instance, run, process.pid)
        assert inspect_process(instance, run).process == identify(process)
    assert inspect_process(instance, run).existence is Existence.ENDED


def test_a_process_that_started_after_the_event_is_another_one(
    instance: dg.DagsterInstance,
) -> None:
    run = put_run(instance, SOCKET)
    with waiting_process() as process:
        put_pid(instance, run, process.pid, seconds_ago=60)
        assert inspect_process(instance, run).existence is Existence.ENDED


def test_a_run_that_was_launched_again_has_the_process_of_its_last_launch(
    instance: dg.DagsterInstance,
) -> None:
    run = put_run(instance, SOCKET)
    put_pid(instance, run, ended_process().pid)
    with waiting_process() as process:
        put_pid(instance, run, process.pid)
        assert inspect_process(instance, run).existence is Existence.RUNNING


def test_a_launched_run_without_a_process_ends_with_its_launcher(
    instance: dg.DagsterInstance,
) -> None:
    with waiting_process() as daemon:
        run = put_tagged(instance, LAUNCHER_TAG, identify(daemon))
        assert inspect_process(instance, run).existence is Existence.UNKNOWN
    assert inspect_process(instance, run).existence is Existence.ENDED


def put_starting(
    instance: dg.DagsterInstance, tags: dict[str, str], *, seconds_ago: float
) -> dg.DagsterRun:
    """Put a run on record that was launched, and no process of which has reported."""
    run = put_run(instance, tags, status=dg.DagsterRunStatus.NOT_STARTED)
    starting = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    instance.report_dagster_event(starting, run.run_id, timestamp=time.time() - seconds_ago)
    found = instance.get_run_by_id(run.run_id)
    assert found is not None
    return found


@pytest.mark.parametrize("seconds_ago", [1, 60])
def test_a_run_that_its_code_server_never_began_ends_with_it(
    instance: dg.DagsterInstance, tmp_path: Path, seconds_ago: float
) -> None:
    path = str(tmp_path / "socket")
    tags = {".dagster/grpc_info": json.dumps({"host": "localhost", "socket": path})}
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        run = put_starting(instance, tags, seconds_ago=seconds_ago)
        assert inspect_process(instance, run).existence is Existence.UNKNOWN
    # Its worker may have begun without it.
    known = Existence.UNKNOWN if seconds_ago < 30 else Existence.ENDED
    assert inspect_process(instance, run).existence is known


def test_a_launch_that_no_launcher_noted_was_interrupted(tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = put_starting(instance, {}, seconds_ago=1)
        assert inspect_process(instance, run).existence is Existence.UNKNOWN
        run = put_starting(instance, {}, seconds_ago=60)
        assert inspect_process(instance, run).existence is Existence.ENDED


def test_a_launcher_is_noted_a_moment_after_the_launch(instance: dg.DagsterInstance) -> None:
    # The run was requeued by a daemon that ended, and is launched by another one now.
    run = put_tagged(instance, LAUNCHER_TAG, ended_process())
    event = dg.DagsterEvent(dg.DagsterEventType.PIPELINE_STARTING.value, run.job_name)
    instance.report_dagster_event(event, run.run_id)
    assert inspect_process(instance, run).existence is Existence.UNKNOWN


def test_a_code_server_behind_a_port_may_be_anywhere(instance: dg.DagsterInstance) -> None:
    run = put_run(instance, {".dagster/grpc_info": '{"host": "code", "port": 4000}'})
    put_pid(instance, run, ended_process().pid)
    assert inspect_process(instance, run).existence is Existence.UNKNOWN


@pytest.mark.parametrize("host", [socket.gethostname(), "elsewhere"])
def test_the_tag_of_earlier_versions_still_tells_the_host(
    instance: dg.DagsterInstance, host: str
) -> None:
    pid = ended_process().pid
    run = put_run(instance, {PROCESS_TAG: f"{host}:{pid}"})
    put_pid(instance, run, pid)
    known = Existence.UNKNOWN if host == "elsewhere" else Existence.ENDED
    assert inspect_process(instance, run).existence is known


def test_only_a_database_in_files_says_that_an_untagged_run_is_of_this_machine(
    instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    pid = ended_process().pid
    with dg.DagsterInstance.local_temp(str(tmp_path)) as in_files:
        for one, known in ((in_files, Existence.ENDED), (instance, Existence.UNKNOWN)):
            run = put_run(one)
            put_pid(one, run, pid)
            assert inspect_process(one, run).existence is known

"""Runs whose process was killed are put on record as failed."""

import socket
import subprocess
import sys

import dagster as dg
import pytest

from medassets.instance.killed_runs import fail_killed_runs, name_process
from medassets.instance.run_tags import LAUNCHED_BY_TAG, PROCESS_TAG


def start_run(instance: dg.DagsterInstance, **tags: str) -> str:
    """Put a run on record as started; return its id."""

    @dg.job
    def job() -> None:
        pass

    run = instance.create_run_for_job(
        job, status=dg.DagsterRunStatus.STARTED, tags={LAUNCHED_BY_TAG: "medassets", **tags}
    )
    return run.run_id


@pytest.fixture
def dead_process() -> str:
    """The tag of a process of this machine that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return f"{socket.gethostname()}:{process.pid}"


def test_a_run_whose_process_ended_is_reported_as_failed_once(dead_process: str) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = start_run(instance, **{PROCESS_TAG: dead_process})
        assert fail_killed_runs(instance) == [run]
        found = instance.get_run_by_id(run)
        assert found is not None
        assert found.status is dg.DagsterRunStatus.FAILURE
        assert fail_killed_runs(instance) == []


def test_runs_of_living_processes_other_hosts_and_other_launchers_are_left_alone(
    dead_process: str,
) -> None:
    pid = dead_process.rpartition(":")[2]
    with dg.DagsterInstance.ephemeral() as instance:
        start_run(instance, **{PROCESS_TAG: name_process()})
        start_run(instance, **{PROCESS_TAG: f"another-host:{pid}"})
        start_run(instance)
        start_run(instance, **{LAUNCHED_BY_TAG: "somebody", PROCESS_TAG: dead_process})
        assert fail_killed_runs(instance) == []
        assert {run.status for run in instance.get_runs()} == {dg.DagsterRunStatus.STARTED}

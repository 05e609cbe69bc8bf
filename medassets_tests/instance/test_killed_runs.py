"""Runs whose process was killed are put on record as ended."""

import dagster as dg
import pytest

from medassets.instance.killed_runs import fail_killed_runs
from medassets.instance.run_tags import PROCESS_TAG, format_tag, tags_of_command
from medassets_tests.instance.killed import SOCKET, ended_process, put_pid, put_run

STATUS = dg.DagsterRunStatus
RUN_ID = "5b2b1d5e-9f0c-4ff5-9d0f-0f2f4f6b7a11"


@pytest.mark.parametrize("status", [STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED])
def test_a_run_whose_process_ended_is_reported_as_failed_once(status: STATUS) -> None:
    tags = {PROCESS_TAG: format_tag(ended_process(), RUN_ID)}
    with dg.DagsterInstance.ephemeral() as instance:
        put_run(instance, tags, run_id=RUN_ID, status=status)
        assert fail_killed_runs(instance) == [RUN_ID]
        found = instance.get_run_by_id(RUN_ID)
        assert found is not None
        assert found.status is STATUS.FAILURE
        assert fail_killed_runs(instance) == []


def test_a_run_of_the_queue_whose_worker_ended_is_reported_as_failed() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = put_run(instance, SOCKET)
        put_pid(instance, run, ended_process().pid)
        assert fail_killed_runs(instance) == [run.run_id]


def test_a_run_that_was_being_canceled_is_reported_as_canceled() -> None:
    tags = {PROCESS_TAG: format_tag(ended_process(), RUN_ID)}
    with dg.DagsterInstance.ephemeral() as instance:
        put_run(instance, tags, run_id=RUN_ID, status=STATUS.CANCELING)
        fail_killed_runs(instance)
        found = instance.get_run_by_id(RUN_ID)
        assert found is not None
        assert found.status is STATUS.CANCELED


def test_runs_of_living_processes_and_of_unknown_ones_are_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        put_run(instance, tags_of_command(RUN_ID), run_id=RUN_ID)
        put_run(instance, {PROCESS_TAG: f"another-host:{ended_process().pid}"})
        put_run(instance)
        assert fail_killed_runs(instance) == []

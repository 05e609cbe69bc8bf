"""Runs whose process was killed are put on record as ended."""

import uuid

import dagster as dg
import pytest

from medassets.instance import killed_runs
from medassets.instance.killed_runs import fail_killed_launches, fail_killed_runs
from medassets.instance.run_processes import RunProcess, inspect_process
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


def test_a_run_that_ends_while_it_is_looked_at_keeps_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tags = {PROCESS_TAG: format_tag(ended_process(), RUN_ID)}
    with dg.DagsterInstance.ephemeral() as instance:
        put_run(instance, tags, run_id=RUN_ID)

        def end_and_inspect(instance: dg.DagsterInstance, run: dg.DagsterRun) -> RunProcess:
            instance.report_dagster_event(
                dg.DagsterEvent(dg.DagsterEventType.RUN_SUCCESS.value, run.job_name), run.run_id
            )
            return inspect_process(instance, run)

        monkeypatch.setattr(killed_runs, "inspect_process", end_and_inspect)
        assert fail_killed_runs(instance) == []
        found = instance.get_run_by_id(RUN_ID)
        assert found is not None
        assert found.status is STATUS.SUCCESS


def test_only_runs_that_have_not_begun_are_killed_launches() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        for status in (STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED):
            run_id = str(uuid.uuid4())
            tags = {PROCESS_TAG: format_tag(ended_process(), run_id)}
            put_run(instance, tags, run_id=run_id, status=status)
        assert len(fail_killed_launches(instance)) == 2
        assert [run.status for run in instance.get_runs()].count(STATUS.STARTED) == 1


def test_runs_of_living_processes_and_of_unknown_ones_are_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        put_run(instance, tags_of_command(RUN_ID), run_id=RUN_ID)
        put_run(instance, {PROCESS_TAG: f"another-host:{ended_process().pid}"})
        put_run(instance)
        assert fail_killed_runs(instance) == []

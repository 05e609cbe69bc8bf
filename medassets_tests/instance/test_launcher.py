"""The launcher of a home: it knows whether a run's process is gone, and can stop it."""

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus

from medassets.instance.home import make_instance
from medassets.instance.launcher import LocalRunLauncher
from medassets.instance.run_tags import PROCESS_TAG, format_tag
from medassets_tests.instance.killed import (
    SOCKET,
    ended_process,
    identify,
    put_pid,
    put_run,
    reused,
    waiting_process,
)

RUN_ID = "5b2b1d5e-9f0c-4ff5-9d0f-0f2f4f6b7a11"


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> LocalRunLauncher:
    """Its launcher."""
    launcher = LocalRunLauncher()
    launcher.register_instance(instance)
    return launcher


def check_health(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance, run_id: str
) -> WorkerStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return launcher.check_run_worker_health(run).status


def test_a_home_has_it(home: Path) -> None:
    make_instance()
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.run_launcher, LocalRunLauncher)
        assert instance.run_launcher.supports_check_run_worker_health


def test_a_run_is_healthy_until_its_process_ends(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    run = put_run(instance, SOCKET)
    assert check_health(launcher, instance, run.run_id) is WorkerStatus.RUNNING
    with waiting_process() as process:
        put_pid(instance, run, process.pid)
        assert check_health(launcher, instance, run.run_id) is WorkerStatus.RUNNING
        tagged = instance.get_run_by_id(run.run_id)
        assert tagged is not None
        assert tagged.tags[PROCESS_TAG] == format_tag(identify(process), run.run_id)
    assert check_health(launcher, instance, run.run_id) is WorkerStatus.FAILED


def test_a_process_with_a_reused_id_is_not_the_runs(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    with waiting_process() as process:
        put_run(instance, {PROCESS_TAG: format_tag(reused(process), RUN_ID)}, run_id=RUN_ID)
        assert check_health(launcher, instance, RUN_ID) is WorkerStatus.FAILED


def put_unreachable(instance: dg.DagsterInstance, process: subprocess.Popen[bytes]) -> None:
    """Put a run on record whose code server does not answer."""
    tags = {PROCESS_TAG: format_tag(identify(process), RUN_ID), **SOCKET}
    put_run(instance, tags, run_id=RUN_ID)


def test_a_run_whose_code_server_died_is_interrupted(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    with waiting_process() as process:
        put_unreachable(instance, process)
        assert launcher.terminate(RUN_ID)
        assert process.wait(120) == -signal.SIGINT


def test_a_run_whose_code_server_and_process_died_is_canceled(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    with waiting_process() as process:
        put_unreachable(instance, process)
    assert launcher.terminate(RUN_ID)
    run = instance.get_run_by_id(RUN_ID)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.CANCELED


def test_the_process_of_a_reused_id_is_not_interrupted(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    with waiting_process() as process:
        tags = {PROCESS_TAG: format_tag(reused(process), RUN_ID)}
        put_run(instance, tags, run_id=RUN_ID)
        assert launcher.terminate(RUN_ID)
        assert process.poll() is None


def test_a_run_of_no_known_process_is_not_terminated(
    launcher: LocalRunLauncher, instance: dg.DagsterInstance
) -> None:
    put_run(instance, {PROCESS_TAG: f"elsewhere:{ended_process().pid}"}, run_id=RUN_ID)
    assert not launcher.terminate(RUN_ID)

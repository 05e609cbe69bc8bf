"""How a run of Dagster ended, read from its events."""

import os
import signal
import threading
from collections.abc import Callable

import dagster as dg
import pytest

from medassets.cli.run_result import RunResult, hearing_interrupts, read_result
from medassets.errors import CatalogError, DiskSpaceError, MedassetsError
from medassets.instance.run_tags import LAUNCHED_BY_TAG
from medassets.io_managers.failures import explained_failures
from medassets_tests.location import QUIET


def run_step(work: Callable[[], object], *, interrupted: bool = False) -> RunResult:
    """Execute a job of one step on an ephemeral instance, and read its result."""

    @dg.op
    def step() -> None:
        with explained_failures({LAUNCHED_BY_TAG: "medassets"}):
            work()

    @dg.job
    def job() -> None:
        step()

    result = job.execute_in_process(run_config=QUIET, raise_on_error=False)
    return read_result(result, interrupted=interrupted)


def fail(error: BaseException) -> Callable[[], object]:
    def work() -> object:
        raise error

    return work


def test_a_run_that_succeeds_has_no_error() -> None:
    found = run_step(lambda: None)
    assert (found.ok, found.error, found.trace, found.adopted) == (True, "", "", False)


@pytest.mark.parametrize("kind", [CatalogError, DiskSpaceError])
def test_an_error_of_ours_is_found_by_its_class_without_a_traceback(
    kind: type[MedassetsError],
) -> None:
    found = run_step(fail(kind("train.csv: line 3 has no study")))
    assert (found.ok, found.kind, found.trace) == (False, kind, "")
    assert "train.csv: line 3 has no study" in found.error


def test_an_unexpected_error_keeps_its_traceback() -> None:
    found = run_step(fail(ZeroDivisionError("not foreseen")))
    assert (found.ok, found.kind) == (False, RuntimeError)
    assert "not foreseen" in found.error
    assert "in work" in found.trace


def test_a_failed_run_that_the_user_stopped_is_told_as_interrupted() -> None:
    found = run_step(fail(ZeroDivisionError("not foreseen")), interrupted=True)
    assert (found.ok, found.interrupted, found.error) == (False, True, "interrupted")


def test_a_run_that_ended_well_while_the_user_asked_to_stop_is_ok_and_interrupted() -> None:
    found = run_step(lambda: None, interrupted=True)
    assert (found.ok, found.interrupted) == (True, True)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_although_another_handler_takes_it(number: signal.Signals) -> None:
    before = signal.signal(number, lambda *_: None)
    try:
        with hearing_interrupts() as interrupted:
            assert not interrupted()
            os.kill(os.getpid(), number)
            assert interrupted()
    finally:
        signal.signal(number, before)
    assert signal.set_wakeup_fd(-1) == -1


def test_outside_of_the_main_thread_nothing_is_heard() -> None:
    heard: list[bool] = []

    def listen() -> None:
        with hearing_interrupts() as interrupted:
            heard.append(interrupted())

    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert heard == [False]

"""Reads how a run ended from its events."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from medassets.errors import MedassetsError, find_error


def read_result(result: dg.ExecuteInProcessResult, *, interrupted: bool) -> "RunResult":
    """Return the result of a run.

    Args:
        result: A finished run.
        interrupted: Whether the user asked to stop meanwhile.
    """
    if result.success:
        return RunResult(result.run_id, ok=True, interrupted=interrupted, adopted=_adopted(result))
    return _as_failure(result, interrupted=interrupted)


@contextmanager
def hearing_interrupts() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether Ctrl-C was pressed inside.

    Dagster holds interrupts back between steps and forgets them when the run ends; the wakeup
    descriptor receives every signal, whatever handles it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    previous = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def interrupted() -> bool:
        with suppress(BlockingIOError):
            return bool({signal.SIGINT, signal.SIGTERM} & set(os.read(reader, 4096)))
        return False

    try:
        yield interrupted
    finally:
        signal.set_wakeup_fd(previous)
        os.close(reader)
        os.close(writer)


def _adopted(result: dg.ExecuteInProcessResult) -> bool:
    found = [
        event.materialization.metadata["medassets/adopted"].value
        for event in result.all_events
        if event.is_step_materialization and "medassets/adopted" in event.materialization.metadata
    ]
    return bool(found) and all(found)


def _as_failure(result: dg.ExecuteInProcessResult, *, interrupted: bool) -> "RunResult":
    """Find the error of ours in the chain that Dagster made of it."""
    chain = list(_causes(result))
    names = {link.cls_name for link in chain}
    if interrupted or names & {"DagsterExecutionInterruptedError", "KeyboardInterrupt"}:
        return RunResult(result.run_id, ok=False, interrupted=True, error="interrupted")
    for link in chain:
        kind = find_error(link.cls_name)
        if kind is not None:
            text = link.message.strip()
            return RunResult(
                result.run_id, ok=False, error=text.partition(": ")[2] or text, kind=kind
            )
    text = chain[-1].message.strip() if chain else "the run failed without saying why"
    trace = chain[0].to_string() if chain else ""
    return RunResult(result.run_id, ok=False, error=text, kind=RuntimeError, trace=trace)


def _causes(result: dg.ExecuteInProcessResult) -> Iterator[SerializableErrorInfo]:
    """Yield the errors of a failed run with their causes, outermost first; the step's own first."""
    steps = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
    # A run can fail outside of every step, before the first one.
    runs = [event.job_failure_data.error for event in result.all_events if event.is_job_failure]
    for error in [*steps, *runs]:
        link = error
        while link is not None:
            yield link
            link = link.cause


@dataclass(frozen=True)
class RunResult:
    """How one run ended.

    Attributes:
        run_id: Its id in the UI.
        ok: It succeeded.
        interrupted: The user stopped it, or asked to stop while its last step ended.
        error: Why it failed, as the step told it.
        kind: Class of the error; `MedassetsError` or below unless it is a bug.
        trace: Traceback of an unexpected error, else empty.
        adopted: Its shard was whole already, and is on the record now.
    """

    run_id: str
    ok: bool
    interrupted: bool = False
    error: str = ""
    kind: type[BaseException] = MedassetsError
    trace: str = ""
    adopted: bool = False

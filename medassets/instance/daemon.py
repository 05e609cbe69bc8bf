"""The Dagster daemon as a child of `medassets up`: it ends when its standard input is closed.

The pipe is closed however the parent ends, also by kill -9; Dagster's own shutdown pipe needs a
message, which a killed parent cannot send. Until it has ended, it holds the lock of its home.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

import dagster as dg

# The command `dagster-daemon` takes no daemon of ours; the parts of it have no public names.
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import (
    create_daemons_from_instance,
    daemon_controller_from_instance,
)
from dagster._daemon.daemon import DaemonIterator, DagsterDaemon, IntervalDaemon
from dagster._utils.interrupts import capture_interrupts

from medassets.instance.code_servers import INTERVAL_S, CodeServerDaemon
from medassets.instance.killed_runs import fail_killed_launches, fail_killed_runs

_LAUNCHES_S = 10.0


def main(lock_fd: str, workspace: str) -> None:
    """Run the daemon.

    Args:
        lock_fd: Descriptor of the home's lock, inherited from the parent.
        workspace: The `workspace.yaml` to serve.
    """
    # A shell's background job inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Code servers and runs outlive the daemon; the lock must not.
    os.set_inheritable(int(lock_fd), False)
    # Else a code server that dies while it starts fails every backfill, and cancels all its runs.
    os.environ["DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"] = "1"
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    with suppress(KeyboardInterrupt), capture_interrupts(), dg.DagsterInstance.get() as instance:
        fail_killed_runs(instance)
        with daemon_controller_from_instance(
            instance,
            workspace_load_target=WorkspaceFileTarget([workspace]),
            gen_daemons=_make_daemons,
            code_server_log_level="warning",
            log_level="warning",
        ) as controller:
            controller.check_daemon_loop()


def _make_daemons(instance: dg.DagsterInstance) -> list[DagsterDaemon[Any]]:
    ours = CodeServerDaemon(INTERVAL_S), KilledLaunchDaemon(_LAUNCHES_S)
    return [*create_daemons_from_instance(instance), *ours]


class KilledLaunchDaemon(IntervalDaemon[WorkspaceProcessContext]):
    """One more thread of Dagster's daemon: fails runs that were killed before they began."""

    @classmethod
    def daemon_type(cls) -> str:
        """Name under which its heartbeat is kept."""
        return "MEDASSETS_KILLED_LAUNCHES"

    def run_iteration(self, workspace_process_context: WorkspaceProcessContext) -> DaemonIterator:
        """Look once."""
        fail_killed_launches(workspace_process_context.instance)
        yield


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])

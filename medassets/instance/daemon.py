"""The Dagster daemon as a child of `medassets up`: it ends when its standard input is closed.

The pipe is closed however the parent ends, also by kill -9; Dagster's own shutdown pipe needs a
message, which a killed parent cannot send. Until it has ended, it holds the lock of its home.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import dagster as dg

# The command `dagster-daemon` takes no daemon of ours; the parts of it have no public names.
from dagster._core.workspace.context import IWorkspaceProcessContext, WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster._daemon.controller import (
    create_daemons_from_instance,
    daemon_controller_from_instance,
)
from dagster._daemon.daemon import DaemonIterator, DagsterDaemon, MonitoringDaemon
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import (
    QueuedRunCoordinatorDaemon,
)
from dagster._utils.interrupts import capture_interrupts

from medassets.instance.code_servers import replace_dead_servers
from medassets.instance.killed_runs import fail_killed_launches, fail_killed_runs


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


class QueueDaemon(QueuedRunCoordinatorDaemon):
    """Dagster's queue; it replaces dead code servers before it asks them to launch runs."""

    def run_iteration(
        self,
        workspace_process_context: IWorkspaceProcessContext,
        fixed_iteration_time: float | None = None,
    ) -> DaemonIterator:
        """Launch the runs whose turn it is."""
        assert isinstance(workspace_process_context, WorkspaceProcessContext)
        replace_dead_servers(workspace_process_context)
        yield from super().run_iteration(workspace_process_context, fixed_iteration_time)


class RunMonitoringDaemon(MonitoringDaemon):
    """Dagster's run monitoring; it also fails runs that were killed before they began."""

    def run_iteration(self, workspace_process_context: IWorkspaceProcessContext) -> DaemonIterator:
        """Look at all unfinished runs."""
        fail_killed_launches(workspace_process_context.instance)
        yield from super().run_iteration(workspace_process_context)


def _make_daemons(instance: dg.DagsterInstance) -> Iterator[DagsterDaemon[Any]]:
    for daemon in create_daemons_from_instance(instance):
        if isinstance(daemon, QueuedRunCoordinatorDaemon):
            yield QueueDaemon(daemon.interval_seconds)
        elif isinstance(daemon, MonitoringDaemon):
            yield RunMonitoringDaemon(daemon.interval_seconds)
        else:
            yield daemon


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The Dagster daemon as a child of `medassets up`: it ends when its standard input is closed.

The pipe is closed however the parent ends, also by kill -9; Dagster's own shutdown pipe needs a
message, which a killed parent cannot send. Until it has ended, it holds the lock of its home.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from importlib.metadata import entry_points

import dagster as dg

from medassets.instance.killed_runs import fail_killed_runs


def main(lock_fd: str, *arguments: str) -> None:
    """Run the daemon.

    Args:
        lock_fd: Descriptor of the home's lock, inherited from the parent.
        arguments: Options of `dagster-daemon run`.
    """
    # A shell's background job inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Code servers and runs outlive the daemon; the lock must not.
    os.set_inheritable(int(lock_fd), False)
    # Else a code server that dies while it starts fails every backfill, and cancels all its runs.
    os.environ["DAGSTER_BACKFILL_RETRY_DEFINITION_CHANGED_ERROR"] = "1"
    sys.argv = ["dagster-daemon", "run", "--log-level", "warning", *arguments]
    with suppress(KeyboardInterrupt):
        threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
        with dg.DagsterInstance.get() as instance:
            # Dagster asks about started runs only, not about those killed while they started.
            fail_killed_runs(instance)
        (command,) = entry_points(group="console_scripts", name="dagster-daemon")
        command.load()()


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main(*sys.argv[1:])

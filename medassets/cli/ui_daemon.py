"""The Dagster daemon as a child of `medassets ui`: it ends when its standard input does.

A closed pipe reaches it however its parent ends, by kill -9 too; Dagster's own shutdown pipe wants
a message, which a killed parent cannot send.
"""

import os
import signal
import sys
import threading
from contextlib import suppress

from dagster._daemon.cli import run_command


def main() -> None:
    """Run the daemon on the workspace files named by the arguments."""
    # A shell's background job inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
    with suppress(KeyboardInterrupt):
        run_command.main(["--log-level", "warning", *sys.argv[1:]], prog_name="medassets-daemon")


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()

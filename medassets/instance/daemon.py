"""The Dagster daemon as a child of `medassets ui`: it ends when its standard input is closed.

The pipe is closed however the parent ends, also by kill -9; Dagster's own shutdown pipe needs a
message, which a killed parent cannot send.
"""

import os
import signal
import sys
import threading
from contextlib import suppress
from importlib.metadata import entry_points


def main() -> None:
    """Run the daemon on the workspace files named by the arguments."""
    # A shell's background job inherits an ignored SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["dagster-daemon", "run", "--log-level", "warning", *sys.argv[1:]]
    with suppress(KeyboardInterrupt):
        threading.Thread(target=_interrupt_at_end_of_input, daemon=True).start()
        (command,) = entry_points(group="console_scripts", name="dagster-daemon")
        command.load()()


def _interrupt_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGINT)


if __name__ == "__main__":
    main()

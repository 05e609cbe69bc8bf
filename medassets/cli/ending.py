"""How a command ends when it is told to: SIGTERM and SIGHUP unwind it as Ctrl-C does."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

EXIT_HUNG_UP = 129
EXIT_INTERRUPTED = 130

_STREAMS = (0, 1, 2)
_hang_ups: list[int] = []
"""Of this process, which leaves soon after the first."""


def interrupted_code() -> int:
    """Return the exit code of a command that was interrupted: by its terminal's end, or otherwise."""
    return EXIT_HUNG_UP if _hang_ups else EXIT_INTERRUPTED


@contextmanager
def ending_in_order() -> Iterator[None]:
    """Let SIGTERM, and SIGHUP of a terminal that is gone, end the block with its summary.

    What a lost terminal would show is discarded: writing to it is an error. A command that was
    started with SIGHUP ignored (`nohup`) goes on. `interrupted_code` tells afterwards which it was.
    """
    terminals = [fd for fd in _STREAMS if os.isatty(fd)]

    def hang_up(number: int, _: FrameType | None) -> None:
        _hang_ups.append(number)
        _discard(terminals)
        # Dagster holds SIGTERM back within a step, and knows no SIGHUP.
        signal.raise_signal(signal.SIGTERM)

    previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def _discard(descriptors: list[int]) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for fd in descriptors:
        os.dup2(nowhere, fd)
    os.close(nowhere)

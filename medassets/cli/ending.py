"""How a command ends when it is told to: SIGTERM and SIGHUP unwind it as Ctrl-C does."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

_STREAMS = (0, 1, 2)


@contextmanager
def ending_in_order() -> Iterator[Callable[[], bool]]:
    """Let SIGTERM, and SIGHUP of a terminal that is gone, end the block with its summary.

    What a lost terminal would show is discarded: writing to it is an error. A command that was
    started with SIGHUP ignored (`nohup`) goes on.

    Yields:
        Tells whether the terminal hung up.
    """
    terminals = [fd for fd in _STREAMS if os.isatty(fd)]
    hung_up: list[int] = []

    def hang_up(number: int, _: FrameType | None) -> None:
        hung_up.append(number)
        _discard(terminals)
        # Dagster holds SIGTERM back within a step, and knows no SIGHUP.
        signal.raise_signal(signal.SIGTERM)

    previous = {signal.SIGTERM: signal.signal(signal.SIGTERM, _interrupt)}
    if signal.getsignal(signal.SIGHUP) is signal.SIG_DFL:
        previous[signal.SIGHUP] = signal.signal(signal.SIGHUP, hang_up)
    try:
        yield lambda: bool(hung_up)
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

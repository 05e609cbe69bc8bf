"""What a server does again and again beside its pages."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_logger = logging.getLogger(__name__)


@contextmanager
def repeating(act: Callable[[], bool], *, every_s: float) -> Iterator[None]:
    """Call a function in a thread, at once and again, until it returns False or the block is left.

    What a call raises is logged, and the next one is made all the same: a server runs for weeks.

    Args:
        act: The function; returns whether it is to be called again.
        every_s: Pause between two calls, in seconds.
    """
    stopping = threading.Event()

    def keep() -> None:
        while _go_on(act) and not stopping.wait(every_s):
            pass

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _go_on(act: Callable[[], bool]) -> bool:
    try:
        return act()
    except Exception:
        _logger.exception("tried again later")
        return True

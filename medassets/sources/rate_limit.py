"""Rate limiter of all requests of a process to a hub."""

import threading
import time
from collections.abc import Callable

# Waiting threads check this often, so that a stopped run does not wait for a long pause.
_LOOK_UP_S = 0.25


class RateLimiter:
    """Delays all threads of a process while a hub requests a pause.

    Attributes:
        reached: Whether the hub ever answered this process.
    """

    def __init__(self) -> None:
        """Make a limiter without a pause."""
        self._lock = threading.Lock()
        self._open_at = 0.0
        self.reached = False

    def pause(self, seconds: float) -> None:
        """Delay requests for some seconds; a longer current pause is kept."""
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return the rest of the current pause, in s; 0 without a pause."""
        with self._lock:
            return max(0.0, self._open_at - time.monotonic())

    def wait(self, *, tick: Callable[[], None] | None = None) -> None:
        """Wait until a request may be sent.

        Args:
            tick: Called several times a second while waiting; what it raises ends the wait.
        """
        while (left := self.seconds_left()) > 0:
            if tick is not None:
                tick()
            time.sleep(min(left, _LOOK_UP_S))


_limiters: dict[str, RateLimiter] = {}
_limiters_lock = threading.Lock()


def shared_limiter(endpoint: str) -> RateLimiter:
    """Return the limiter of an endpoint, shared by all sources of the process."""
    with _limiters_lock:
        return _limiters.setdefault(endpoint, RateLimiter())


def sleep_ticking(seconds: float, *, tick: Callable[[], None] | None = None) -> None:
    """Sleep, calling `tick` several times per second; an exception of it ends the sleep."""
    limiter = RateLimiter()
    limiter.pause(seconds)
    limiter.wait(tick=tick)

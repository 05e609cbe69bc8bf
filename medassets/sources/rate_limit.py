"""One door per process through which every request to a hub goes."""

import threading
import time
from collections.abc import Callable

# Waiting threads look up this often, so that a stopped run does not sleep out a long pause.
_LOOK_UP_S = 0.25


class RateLimiter:
    """Holds back all threads of a process while a hub asks for a pause.

    Attributes:
        reached: Whether the hub ever answered this process.
    """

    def __init__(self) -> None:
        """Start without a pause."""
        self._lock = threading.Lock()
        self._open_at = 0.0
        self.reached = False

    def pause(self, seconds: float) -> None:
        """Let no request through for some seconds; a longer pause under way stays."""
        with self._lock:
            self._open_at = max(self._open_at, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return how long the door stays shut, 0 if it is open."""
        with self._lock:
            return max(0.0, self._open_at - time.monotonic())

    def wait(self, *, tick: Callable[[], None] | None = None) -> None:
        """Return when a request may be sent.

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
    """Return the process's one limiter of an endpoint, whatever source asks for it."""
    with _limiters_lock:
        return _limiters.setdefault(endpoint, RateLimiter())


def sleep_ticking(seconds: float, *, tick: Callable[[], None] | None = None) -> None:
    """Sleep, calling `tick` several times a second; what it raises ends the sleep."""
    limiter = RateLimiter()
    limiter.pause(seconds)
    limiter.wait(tick=tick)

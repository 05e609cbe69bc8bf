"""Ends the requests of other threads, those that wait for a byte among them."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from medassets.errors import FetchStoppedError

if TYPE_CHECKING:
    import httpx2


class Stopper:
    """Stops the work of threads that serve it: pauses end, and open connections are cut.

    Attributes:
        is_stopped: Whether `stop` was called.
    """

    def __init__(self) -> None:
        """Start without threads."""
        self.is_stopped = False
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []

    def stop(self) -> None:
        """Let every thread that serves this object end its work."""
        with self._lock:
            self.is_stopped = True
            for connection in self._open:
                # Of the class itself: that of TLS would discard the state that the thread reads with.
                with suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def check(self) -> None:
        """End the work if it is stopped.

        Raises:
            FetchStoppedError: If it is, or if the program ends: that waits for this thread.
        """
        if self.is_stopped or not threading.main_thread().is_alive():
            raise FetchStoppedError

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let the requests that this thread sends inside end when the object is stopped."""
        token = _current.set(self)
        try:
            self.check()
            yield
        finally:
            _current.reset(token)

    @contextmanager
    def cutting(self, connection: socket.socket) -> Iterator[None]:
        """Cut a connection when the object is stopped meanwhile."""
        with self._lock:
            self._open.append(connection)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._open.remove(connection)


_current: ContextVar[Stopper | None] = ContextVar("medassets_stopper", default=None)


def current_stopper() -> Stopper | None:
    """Return what stops this thread; None if nothing does."""
    return _current.get()


@contextmanager
def stoppable(response: "httpx2.Response") -> Iterator[None]:
    """Cut the connection of an open answer when this thread is stopped: a read may wait a minute."""
    stopper = current_stopper()
    stream = response.extensions.get("network_stream")
    connection = stream.get_extra_info("socket") if stream is not None else None
    if stopper is None or connection is None:
        yield
        return
    with stopper.cutting(connection):
        yield

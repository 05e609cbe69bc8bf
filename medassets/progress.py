"""A way out of a Dagster step for progress: the terminal listens, the step reports."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

Listener = Callable[[Any], None]

_listener: ContextVar[Listener | None] = ContextVar("medassets_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send every report made inside to `listener`, in the thread that makes it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(event: Any) -> None:
    """Hand an event to whoever listens; nobody is fine."""
    listener = _listener.get()
    if listener is not None:
        listener(event)

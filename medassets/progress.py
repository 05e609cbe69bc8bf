"""Carries progress events from a Dagster step to the terminal."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True)
class BytesFetched:
    """More bytes of source files arrived from the source.

    Attributes:
        num_bytes: How many; those that were on the local disk before do not count.
    """

    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class FetchedAhead:
    """More bytes of source files arrived before the turn of their shard.

    Attributes:
        partition_key: The shard that the files are for.
        num_bytes: How many since the last such event.
        total_bytes: How many so far.
        is_waited_for: Whether nothing is computed until the shard's files are there.
    """

    partition_key: str
    num_bytes: int
    total_bytes: int
    is_waited_for: bool


@dataclass(frozen=True, kw_only=True)
class SampleDone:
    """One more item of a shard or of an export is done.

    Attributes:
        partition_key: The shard.
        key: Sample key of the item.
        done: Items done so far, rejected ones among them.
        total: Items in all.
        rejected: Rejected so far.
        size_bytes: Bytes written so far.
    """

    partition_key: str
    key: str
    done: int
    total: int
    rejected: int
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class SourceDone:
    """One more source file was compared with its shard, or deleted.

    Attributes:
        partition_key: The shard.
        done: Files proven so far, or deleted so far once `freed_bytes` is above 0.
        total: Files of the shard.
        freed_bytes: Bytes of the files deleted so far.
    """

    partition_key: str
    done: int
    total: int
    freed_bytes: int


@dataclass(frozen=True)
class ShardReclaimed:
    """Deleting the sources of one shard ended.

    Attributes:
        report: A `medassets.reclaim.report.ReclaimReport`, of a room above this module.
    """

    report: Any


Event: TypeAlias = BytesFetched | FetchedAhead | SampleDone | SourceDone | ShardReclaimed
Listener: TypeAlias = Callable[[Event], None]

_listener: ContextVar[Listener | None] = ContextVar("medassets_progress", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Pass every event that is reported inside to `listener`, in the thread that reports it."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(event: Event) -> None:
    """Pass an event to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(event)

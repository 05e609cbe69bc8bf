"""Assign decoder processes to callers, one each, and end all of them at the end."""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from medassets.errors import DecoderUnavailableError
from medassets.video.processes.process import DecoderProcess, Starter

_CLOSE_TIMEOUT_S = 10.0


@dataclass(eq=False)
class Slot:
    """Room for one decoder process.

    Attributes:
        process: The process, started by its first call.
        gpu: GPU it decodes on, None for the CPU.
    """

    process: DecoderProcess
    gpu: int | None


class Slots:
    """The slots of a pool, each used by one thread at a time.

    Args:
        timeout_s: Longest time without a response, in seconds.
        command: Command line of the processes; None runs `medassets.video.processes.worker`.
    """

    def __init__(self, timeout_s: float, command: Sequence[str] | None = None) -> None:
        self._timeout_s, self._command = timeout_s, command
        self._starter = Starter()
        self._changed = threading.Condition()
        self._all: list[Slot] = []
        self._free: list[Slot] = []
        self._closed = False
        self._owner = os.getpid()

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the processes that run now."""
        pids = [slot.process.pid for slot in self._all]
        return tuple(pid for pid in pids if pid is not None)

    def add(self, gpu: int | None) -> None:
        """Add room for one more process."""
        process = DecoderProcess(self._starter, self._timeout_s, self._command)
        slot = Slot(process, gpu)
        with self._changed:
            self._all.append(slot)
            # The slot returned last is reused first, so that few threads start few processes;
            # unused slots follow in the order in which they were added.
            self._free.insert(0, slot)
            self._changed.notify()

    def __len__(self) -> int:
        """Return how many slots there are."""
        return len(self._all)

    @contextmanager
    def lend(self) -> Iterator[Slot]:
        """Reserve a slot for a `with` block; wait until one is free.

        Raises:
            DecoderUnavailableError: If the slots are closed, before or while waiting.
        """
        slot = self._take()
        try:
            yield slot
        finally:
            with self._changed:
                self._free.append(slot)
                self._changed.notify_all()

    def close(self) -> None:
        """End all processes, also during calls; waiting callers get an error."""
        if os.getpid() != self._owner:
            # In a forked copy of the pool the processes belong to the parent.
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            for slot in self._all:
                slot.process.interrupt()
            self._changed.wait_for(self._all_free, timeout=_CLOSE_TIMEOUT_S)
        self._starter.close()
        for slot in self._all:
            slot.process.end()

    def _take(self) -> Slot:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._free)
            if self._closed:
                msg = "the decoder pool is closed"
                raise DecoderUnavailableError(msg)
            return self._free.pop()

    def _all_free(self) -> bool:
        return len(self._free) == len(self._all)

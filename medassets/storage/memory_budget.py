"""A bound on the memory that samples in progress may take together, from the machine's own.

A few bytes of a header can claim gigabytes. A sample leases memory before it takes it: a claim beyond
the budget is refused with the figures, and claims that together exceed it wait for one another.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from typing import NamedTuple

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.memory import read_budget_bytes

_LOOK_UP_S = 0.5


class _Turn(NamedTuple):
    number: int
    is_stopped: Callable[[], bool]


_TURN: ContextVar[_Turn | None] = ContextVar("medassets_turn", default=None)


@contextmanager
def taking_turn(number: int, is_stopped: Callable[[], bool]) -> Iterator[None]:
    """Say which number the work of a thread has in the order in which results are consumed.

    Args:
        number: The number.
        is_stopped: Whether no result is consumed any more, so that waiting would not end.
    """
    token = _TURN.set(_Turn(number, is_stopped))
    try:
        yield
    finally:
        _TURN.reset(token)


class MemoryBudget:
    """Memory that the samples of one process share.

    Leases beyond the budget wait until others end. The sample that is consumed next never waits: the
    memory of later ones is only returned after it. So at most twice the budget is in use.

    Args:
        total_bytes: The budget; 0 is that of `read_budget_bytes`.

    Attributes:
        total_bytes: The budget.
    """

    def __init__(self, total_bytes: int = 0) -> None:
        self.total_bytes = total_bytes or read_budget_bytes()
        self._changed = threading.Condition()
        self._held: Counter[int] = Counter()
        self._waiting: Counter[int] = Counter()
        self._own = threading.local()
        self._late_numbers = count(1 << 62)

    @property
    def held_bytes(self) -> int:
        """Sum of the leases."""
        return self._held.total()

    def require(self, num_bytes: int, *, what: str) -> None:
        """Refuse a claim that can never fit.

        Args:
            num_bytes: Memory that a sample takes.
            what: What claims it, for the message.

        Raises:
            SampleRejectedError: TOO_LARGE, with both figures.
        """
        if num_bytes > self.total_bytes:
            detail = (
                f"{what} takes {num_bytes:,} bytes of memory, the budget of a process is "
                f"{self.total_bytes:,}; declare memory_budget_gb, or build where there is more memory"
            )
            raise SampleRejectedError(Reason.TOO_LARGE, detail)

    @contextmanager
    def lease(self, num_bytes: int, *, what: str) -> Iterator[None]:
        """Hold memory for a sample, when the budget has room for it.

        Args:
            num_bytes: How much.
            what: What claims it, for the message.

        Raises:
            SampleRejectedError: TOO_LARGE, if it can never fit beside what the sample holds already.
        """
        turn = _TURN.get() or self._late_turn()
        self.require(num_bytes + self._held[turn.number], what=what)
        self._wait(turn, num_bytes)
        try:
            yield
        finally:
            self._return(turn, num_bytes)

    def _wait(self, turn: _Turn, num_bytes: int) -> None:
        with self._changed:
            self._waiting[turn.number] += 1
            try:
                while not turn.is_stopped() and not self._changed.wait_for(
                    lambda: self._may_start(turn.number, num_bytes), _LOOK_UP_S
                ):
                    pass
                self._held[turn.number] += num_bytes
            finally:
                self._waiting -= Counter([turn.number])
                self._changed.notify_all()

    def _return(self, turn: _Turn, num_bytes: int) -> None:
        with self._changed:
            self._held -= Counter({turn.number: num_bytes})
            self._changed.notify_all()

    def _may_start(self, number: int, num_bytes: int) -> bool:
        is_next = number <= min((*self._held, *self._waiting))
        return is_next or self.held_bytes + num_bytes <= self.total_bytes

    def _late_turn(self) -> _Turn:
        """Return the turn of a thread whose results are consumed in no order."""
        if not hasattr(self._own, "turn"):
            self._own.turn = _Turn(next(self._late_numbers), lambda: False)
        return self._own.turn

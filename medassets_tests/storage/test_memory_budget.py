"""Claims beyond the budget are refused with figures; those beyond it together wait for one another."""

import threading
from contextlib import ExitStack

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.memory import read_budget_bytes
from medassets.storage.memory_budget import MemoryBudget, taking_turn

GB = 10**9


def never_stopped() -> bool:
    return False


def test_a_claim_beyond_the_budget_is_too_large_and_says_by_how_much() -> None:
    budget = MemoryBudget(2 * GB)
    refused = pytest.raises(SampleRejectedError, match=r"9,826,000,000 .* 2,000,000,000")
    with refused as caught, budget.lease(2 * 1700**3, what="an array of 1700 x 1700 x 1700"):
        pass
    assert caught.value.reason is Reason.TOO_LARGE
    assert budget.held_bytes == 0


def test_what_one_sample_holds_already_counts() -> None:
    budget = MemoryBudget(2 * GB)
    refused = pytest.raises(SampleRejectedError, match="2,500,000,000")
    with budget.lease(GB, what="one"), refused, budget.lease(GB * 3 // 2, what="two"):
        pass


def test_without_a_declaration_the_machine_decides() -> None:
    assert MemoryBudget().total_bytes == read_budget_bytes() > 0


class Sample:
    """A sample on a thread of its own, which holds memory until it is consumed."""

    def __init__(self, budget: MemoryBudget, number: int, num_bytes: int) -> None:
        self.budget, self.number, self.num_bytes = budget, number, num_bytes
        self.stack, self.has_memory = ExitStack(), threading.Event()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.make, daemon=True)
        self.thread.start()

    def make(self) -> None:
        with taking_turn(self.number, self.stopped.is_set):
            self.stack.enter_context(self.budget.lease(self.num_bytes, what="it"))
            self.has_memory.set()

    def waits(self) -> bool:
        return not self.has_memory.wait(0.1)

    def is_made(self) -> bool:
        return self.has_memory.wait(20)


def test_a_later_sample_waits_until_an_earlier_one_is_consumed() -> None:
    budget = MemoryBudget(3 * GB)
    first = Sample(budget, 0, 2 * GB)
    assert first.is_made()
    second = Sample(budget, 1, 2 * GB)
    small = Sample(budget, 2, GB)
    assert small.is_made()
    assert second.waits()
    first.stack.close()
    assert second.is_made()


def test_the_sample_that_is_consumed_next_never_waits() -> None:
    budget = MemoryBudget(3 * GB)
    later = Sample(budget, 5, 3 * GB)
    assert later.is_made()
    assert Sample(budget, 4, 3 * GB).is_made()


def test_waiting_ends_when_nothing_is_consumed_any_more() -> None:
    budget = MemoryBudget(3 * GB)
    first = Sample(budget, 0, 3 * GB)
    assert first.is_made()
    late = Sample(budget, 1, 3 * GB)
    assert late.waits()
    late.stopped.set()
    assert late.is_made()

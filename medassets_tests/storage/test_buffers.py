"""Buffers are reused after their last view is released, never shared, and bounded."""

import mmap
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from medassets.storage.buffers import BufferPool


def test_lent_memory_is_reused_after_its_last_view_is_released() -> None:
    pool = BufferPool()
    array = pool.lend((3, 4), np.float16)
    view, address = array[1], array.ctypes.data
    del array
    assert pool.free_bytes == 0
    other = pool.lend((3, 4), np.float16)
    assert other.ctypes.data != address
    del view
    assert pool.free_bytes == 2 << 20
    third = pool.lend((2, 5), np.float64)
    assert third.ctypes.data == address


@pytest.mark.skipif(not hasattr(mmap, "MADV_HUGEPAGE"), reason="a system without huge pages")
@pytest.mark.parametrize("huge_pages", [True, False])
def test_huge_pages_are_asked_for_where_they_help(*, huge_pages: bool) -> None:
    array = BufferPool(huge_pages=huge_pages).lend((1 << 22,), np.uint8)
    mappings = Path("/proc/self/smaps").read_text()
    (flags,) = (
        fields["VmFlags"].split()
        for first, last, fields in read_mappings(mappings)
        if first <= array.ctypes.data < last
    )
    # "hg": advised with MADV_HUGEPAGE. Source: man 5 proc_pid_smaps.
    assert ("hg" in flags) == huge_pages


def read_mappings(text: str) -> Iterator[tuple[int, int, dict[str, str]]]:
    """Yield where each mapping of a process begins and ends, and what the kernel says of it."""
    for mapping in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE)[1:]:
        head, *lines = mapping.splitlines()
        first, last = (int(end, 16) for end in head.split()[0].split("-"))
        yield first, last, dict(line.split(":", 1) for line in lines)


def test_lent_arrays_are_contiguous_and_begin_at_a_page() -> None:
    pool = BufferPool()
    for shape, dtype in [((5, 7, 11), "f2"), ((300_001,), "u1"), ((), "f8"), ((0, 3), "i4")]:
        array = pool.lend(shape, dtype)
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.ctypes.data % 4096 == 0


def test_free_memory_is_bounded() -> None:
    pool = BufferPool(max_free_bytes=9 << 20)
    arrays = [pool.lend((4 << 20,), np.uint8) for _ in range(5)]
    newest = {array.ctypes.data for array in arrays[:2]}
    while arrays:
        arrays.pop()
    assert pool.free_bytes == 8 << 20
    reused = pool.lend((4 << 20,), np.uint8)
    assert reused.ctypes.data in newest


def test_memory_over_the_limit_is_not_kept() -> None:
    pool = BufferPool(max_free_bytes=1 << 20)
    with pool.borrow((4 << 20,), np.uint8):
        pass
    assert pool.free_bytes == 0


def test_the_newest_buffers_can_be_exempt_from_the_limit() -> None:
    pool = BufferPool(max_free_bytes=1 << 20, min_free_count=2)
    arrays = [pool.lend((4 << 20,), np.uint8) for _ in range(3)]
    arrays.clear()
    assert pool.free_bytes == 8 << 20


def test_the_limit_is_higher_while_a_keeper_is_alive() -> None:
    pool = BufferPool(max_free_bytes=8 << 20, max_kept_bytes=20 << 20)

    class Keeper:
        pass

    def give_back(count: int) -> None:
        lent = [pool.lend((4 << 20,), np.uint8) for _ in range(count)]
        assert len({array.ctypes.data for array in lent}) == count

    give_back(7)
    assert pool.free_bytes == 8 << 20
    keeper = Keeper()
    pool.keep(keeper)
    give_back(7)
    assert pool.free_bytes == 20 << 20
    del keeper
    assert pool.free_bytes == 8 << 20
    pool.clear()
    assert pool.free_bytes == 0


def test_much_larger_memory_is_not_used_for_small_arrays() -> None:
    pool = BufferPool()
    with pool.borrow((64 << 20,), np.uint8):
        pass
    with pool.borrow((1 << 20,), np.uint8):
        assert pool.free_bytes == 64 << 20
    assert pool.free_bytes == 66 << 20


def test_the_smallest_memory_that_fits_is_taken() -> None:
    pool = BufferPool()
    with pool.borrow((8 << 20,), np.uint8), pool.borrow((6 << 20,), np.uint8):
        pass
    with pool.borrow((5 << 20,), np.uint8):
        assert pool.free_bytes == 8 << 20


def test_borrowed_memory_comes_back_after_an_error() -> None:
    pool = BufferPool()
    msg = "no such key"
    with pytest.raises(KeyError, match=msg), pool.borrow((7,), np.uint8):
        raise KeyError(msg)
    assert pool.free_bytes == 2 << 20


def test_borrowed_memory_comes_back_while_views_of_it_are_alive() -> None:
    pool = BufferPool()
    with pool.borrow((5, 7), np.int16) as first:
        assert first.shape == (5, 7)
        assert first.flags.c_contiguous
    with pool.borrow((4, 5), np.float32) as second:
        assert np.shares_memory(first, second)
    assert pool.free_bytes == 2 << 20


def test_threads_never_hold_the_same_array() -> None:
    pool = BufferPool()

    def use(number: int) -> bool:
        with pool.borrow((1000,), np.int64) as borrowed:
            lent = pool.lend((1000,), np.int64)
            borrowed.fill(number)
            lent.fill(-number)
            return bool((borrowed == number).all() and (lent == -number).all())

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(use, range(400)))

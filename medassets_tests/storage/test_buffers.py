"""Buffers are reused, never shared, and do not pile up."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from medassets.storage.buffers import BufferPool


def test_a_released_array_is_reused_for_the_same_shape_and_dtype() -> None:
    pool = BufferPool()
    array = pool.acquire((3, 4), np.float16)
    pool.release(array)
    assert pool.acquire((4, 3), np.float16) is not array
    assert pool.acquire((3, 4), np.uint16) is not array
    assert pool.acquire((3, 4), np.float16) is array
    assert pool.acquire((3, 4), np.float16) is not array


def test_what_is_kept_is_bounded() -> None:
    pool = BufferPool(max_free_bytes=250)
    arrays = [pool.acquire((100,), np.uint8) for _ in range(5)]
    for array in arrays:
        pool.release(array)
    assert pool.free_bytes == 200
    assert pool.acquire((100,), np.uint8) is arrays[3]


def test_a_second_release_and_a_view_are_refused() -> None:
    pool = BufferPool()
    array = pool.acquire((3, 4), np.float16)
    with pytest.raises(ValueError, match="view of another array"):
        pool.release(array[:2])
    pool.release(array)
    with pytest.raises(ValueError, match="released twice"):
        pool.release(array)


def test_borrowing_gives_back_after_an_error() -> None:
    pool = BufferPool()
    msg = "no such key"
    with pytest.raises(KeyError, match=msg), pool.borrow((7,), np.uint8):
        raise KeyError(msg)
    assert pool.free_bytes == 8


def test_borrowed_scratch_serves_other_shapes() -> None:
    pool = BufferPool()
    with pool.borrow((5, 7), np.int16) as first:
        assert first.shape == (5, 7)
        assert first.flags.c_contiguous
    with pool.borrow((4, 5), np.float32) as second:
        assert np.shares_memory(first, second)
    assert pool.free_bytes == 128


def test_threads_never_hold_the_same_array() -> None:
    pool = BufferPool()

    def use(number: int) -> bool:
        with pool.borrow((1000,), np.int64) as array:
            array.fill(number)
            return bool((array == number).all())

    with ThreadPoolExecutor(8) as executor:
        assert all(executor.map(use, range(400)))

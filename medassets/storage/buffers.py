"""Reusable memory for arrays.

A new buffer of 110 MB costs 27,000 page faults, two to three times the time of reading a file into it.
A buffer that does not start at a page boundary doubles the time of the copy from the page cache.
"""

import contextlib
import math
import mmap
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.storage.memory_budget import MemoryBudget

_ROUND_BYTES = 1 << 21
_MAX_WASTE = 2
_Memory = npt.NDArray[np.uint8]


class BufferPool:
    """Page-aligned memory that is reused instead of being returned to the system.

    `lend` returns an array whose memory is reused after its last view is released; `borrow` lends
    one for a `with` block. There is no lock: the garbage collector can return memory at any
    instruction, also inside this class, and each step on the list of free memory is atomic.

    Args:
        max_free_bytes: Limit of the free memory; beyond it, the oldest is returned to the system.
        max_kept_bytes: The limit while an object given to `keep` is alive; None: the same.
        min_free_count: So many of the newest free buffers are kept whatever their size.
        huge_pages: Ask for pages of 2 MB. Kernels that write across an array gain by them (resampling
            takes a sixth less time); copies do not, and getting them can take twice as long.
        budget: What borrowed memory may take together; None: no limit.

    Attributes:
        budget: As given.
    """

    def __init__(
        self,
        *,
        budget: MemoryBudget | None = None,
        max_free_bytes: int = 1 << 29,
        max_kept_bytes: int | None = None,
        min_free_count: int = 0,
        huge_pages: bool = True,
    ) -> None:
        self.budget = budget
        self._max_free_bytes = max_free_bytes
        self._max_kept_bytes = max_free_bytes if max_kept_bytes is None else max_kept_bytes
        self._min_free_count = min_free_count
        self._huge_pages = huge_pages
        self._free: list[_Memory] = []
        self._keepers: list[None] = []

    @property
    def free_bytes(self) -> int:
        """Size of the memory that is ready for reuse."""
        return sum(memory.nbytes for memory in self._free)

    def lend(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """Return an array of undefined content.

        Its memory stays in use as long as the array, or any view, slice or tensor made of it, is
        alive.

        Args:
            shape: Shape of the array.
            dtype: Any dtype without Python objects.

        Returns:
            A C-contiguous array that starts at a page boundary.
        """
        num_bytes = _count_bytes(shape, dtype)
        lease = _Lease(self, self._take(num_bytes), num_bytes)
        return np.asarray(lease).view(dtype).reshape(shape)

    @contextlib.contextmanager
    def borrow(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[npt.NDArray[Any]]:
        """Lend an array of undefined content for the length of a `with` block.

        The memory is reused after the block even if views of it are still alive (a traceback keeps
        them, for example); they must not be used any more.

        Args:
            shape: Shape of the array.
            dtype: Any dtype without Python objects.

        Yields:
            A C-contiguous array that starts at a page boundary.

        Raises:
            SampleRejectedError: TOO_LARGE, if it does not fit the budget.
        """
        num_bytes = _count_bytes(shape, dtype)
        with self._lease(num_bytes, shape, dtype):
            memory = self._take(num_bytes)
            try:
                yield memory[:num_bytes].view(dtype).reshape(shape)
            finally:
                self._take_back(memory)

    def _lease(
        self, num_bytes: int, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> contextlib.AbstractContextManager[None]:
        # Small arrays are not worth a lock.
        if self.budget is None or num_bytes < _ROUND_BYTES:
            return contextlib.nullcontext()
        sides = " x ".join(map(str, shape))
        return self.budget.lease(num_bytes, what=f"an array of {sides} ({np.dtype(dtype)})")

    def keep(self, user: object) -> None:
        """Raise the limit of free memory to `max_kept_bytes` as long as an object is alive.

        At the end of an epoch all batches in flight come back, and the next epoch needs them all;
        getting gigabytes from the system again takes longer than reading them.
        """
        self._keepers.append(None)
        weakref.finalize(user, self._stop_keeping).atexit = False

    def clear(self) -> None:
        """Return all free memory to the system."""
        self._free.clear()

    def _stop_keeping(self) -> None:
        self._keepers.pop()
        self._trim()

    def _take(self, num_bytes: int) -> _Memory:
        sizes = [memory.nbytes for memory in self._free]
        fitting = [index for index, size in enumerate(sizes) if _fits(size, num_bytes)]
        if fitting:
            with contextlib.suppress(IndexError):
                taken = self._free.pop(min(fitting, key=sizes.__getitem__))
                # Another thread may have changed the list in between.
                if _fits(taken.nbytes, num_bytes):
                    return taken
                self._free.append(taken)
        return _map_memory(num_bytes, huge_pages=self._huge_pages)

    def _take_back(self, memory: _Memory) -> None:
        self._free.append(memory)
        self._trim()

    def _trim(self) -> None:
        limit = self._max_kept_bytes if self._keepers else self._max_free_bytes
        while len(self._free) > self._min_free_count and self.free_bytes > limit:
            with contextlib.suppress(IndexError):
                self._free.pop(0)


class _Lease:
    """Owner of lent memory and base of every view: numpy reads its address, then keeps it alive."""

    def __init__(self, pool: BufferPool, memory: _Memory, num_bytes: int) -> None:
        self._pool = pool
        self._memory = memory
        self.__array_interface__ = {
            "version": 3,
            "data": (memory.ctypes.data, False),
            "shape": (num_bytes,),
            "typestr": "|u1",
        }

    def __del__(self) -> None:
        self._pool._take_back(self._memory)


def _count_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    return math.prod(shape) * np.dtype(dtype).itemsize


def _fits(size_bytes: int, num_bytes: int) -> bool:
    return num_bytes <= size_bytes <= _MAX_WASTE * max(num_bytes, _ROUND_BYTES)


def _map_memory(num_bytes: int, *, huge_pages: bool) -> _Memory:
    size = max(-(-num_bytes // _ROUND_BYTES), 1) * _ROUND_BYTES
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if huge_pages and hasattr(mmap, "MADV_HUGEPAGE"):
        # A kernel without huge pages refuses the advice.
        with contextlib.suppress(OSError):
            mapped.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapped, np.uint8)

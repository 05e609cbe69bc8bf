"""Memory for batches: used again once nobody looks at it any more, shared or pinned where asked for.

A fresh buffer of 110 MB costs 27,000 page faults, two to three times the reading itself; one that does
not begin at a page boundary doubles the time of the copy out of the page cache.
"""

import contextlib
import math
import mmap
import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import get_worker_info

SMALLEST_POOLED_BYTES = 1 << 18
"""Less than this comes from the allocator, which has it at hand."""

_ROUND_BYTES = 1 << 21
_LARGEST_WASTE = 2
_Memory = npt.NDArray[np.uint8]


class MemoryPool:
    """Page-aligned memory that comes back by itself when its last view is gone.

    What `lend` returns, and every tensor, view, slice or array made of it, keeps the memory alive;
    afterwards it waits for the next `lend`. No lock: memory can come back at any instruction,
    also inside this class, when the garbage collector runs.

    Args:
        max_free_bytes: What waits beyond this is given back to the system, oldest first; the two
            newest stay whatever their size.
        max_kept_bytes: The same while somebody has asked to `keep` it.
    """

    def __init__(self, *, max_free_bytes: int, max_kept_bytes: int) -> None:
        self._max_free_bytes = max_free_bytes
        self._max_kept_bytes = max_kept_bytes
        self._free: list[_Memory] = []
        self._keepers: list[None] = []

    def keep(self, user: object) -> None:
        """Hold more memory ready as long as an object lives.

        At the end of an epoch all batches in flight come back, and the next epoch needs them all;
        fetching gigabytes from the system anew takes longer than reading them.
        """
        self._keepers.append(None)
        weakref.finalize(user, self._stop_keeping).atexit = False

    def _stop_keeping(self) -> None:
        self._keepers.pop()
        self._trim()

    def lend(self, num_bytes: int) -> _Memory:
        """Return memory of undefined content.

        Args:
            num_bytes: Its length, at least 1.

        Returns:
            uint8 (num_bytes,), page-aligned.
        """
        memory = self._take(num_bytes)
        if memory is None:
            memory = _map_memory(num_bytes)
        return np.asarray(_Lease(self, memory, num_bytes))

    @property
    def free_bytes(self) -> int:
        """Bytes that wait for the next `lend`."""
        return sum(memory.nbytes for memory in self._free)

    def clear(self) -> None:
        """Give everything that waits back to the system."""
        self._free.clear()

    def _take(self, num_bytes: int) -> _Memory | None:
        for index, memory in enumerate(self._free):
            if _fits(memory, num_bytes):
                try:
                    taken = self._free.pop(index)
                except IndexError:
                    return None
                # Another thread may have moved the list in between.
                if _fits(taken, num_bytes):
                    return taken
                self._free.append(taken)
                return None
        return None

    def _take_back(self, memory: _Memory) -> None:
        self._free.append(memory)
        self._trim()

    def _trim(self) -> None:
        most = self._max_kept_bytes if self._keepers else self._max_free_bytes
        while len(self._free) > 2 and self.free_bytes > most:
            with contextlib.suppress(IndexError):
                self._free.pop(0)


class _Lease:
    """Owner of lent memory, at the root of every view: numpy reads its address, then holds it."""

    def __init__(self, pool: MemoryPool, memory: _Memory, num_bytes: int) -> None:
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


def _fits(memory: _Memory, num_bytes: int) -> bool:
    return num_bytes <= memory.nbytes <= _LARGEST_WASTE * max(num_bytes, _ROUND_BYTES)


def _map_memory(num_bytes: int) -> _Memory:
    size = -(-num_bytes // _ROUND_BYTES) * _ROUND_BYTES
    # No huge pages are asked for: memory that is used again gains nothing by them, and finding them
    # can take twice as long.
    mapped = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return np.frombuffer(mapped, np.uint8)


POOL = MemoryPool(
    max_free_bytes=1 << 30,
    max_kept_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4,
)
"""The pool of this process; a forked child starts with a copy whose pages it gets when it writes."""


class _Here(threading.local):
    pinned = False


_here = _Here()


@contextlib.contextmanager
def pinning(pinned: bool) -> Iterator[None]:
    """Let `empty_batch` return pinned memory on this thread, where there is CUDA."""
    before, _here.pinned = _here.pinned, pinned and torch.cuda.is_available()
    try:
        yield
    finally:
        _here.pinned = before


def empty_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a contiguous tensor of undefined content in memory that is used again.

    Args:
        shape: Its shape.
        dtype: Its dtype.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes < SMALLEST_POOLED_BYTES:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(POOL.lend(num_bytes)).view(dtype).view(shape)


def empty_batch(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a contiguous tensor of undefined content for what is handed to the trainer.

    In a worker process of PyTorch's DataLoader it lies in shared memory, so that it reaches the
    trainer without a copy. Under `pinning` it comes from PyTorch's pool of pinned memory, which
    knows when a transfer to the GPU has ended. Else it is as from `empty_tensor`.
    """
    if get_worker_info() is not None:
        return _empty_shared(shape, dtype)
    if _here.pinned:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    return empty_tensor(shape, dtype)


def _empty_shared(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    num_bytes = math.prod(shape) * dtype.itemsize
    storage: Any = torch.UntypedStorage._new_shared(max(num_bytes, 1))
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return flat[:num_bytes].view(dtype).view(shape)

"""Memory for batches: reused, shared between processes, or pinned."""

import contextlib
import math
import os
import threading
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import get_worker_info

from medassets.storage.buffers import BufferPool

_MIN_POOLED_BYTES = 1 << 18
"""Smaller tensors come from PyTorch's allocator, which reuses memory of this size itself."""

POOL = BufferPool(
    max_free_bytes=1 << 30,
    max_kept_bytes=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4,
    min_free_count=2,
    huge_pages=False,
)
"""The pool of this process. A forked child starts with a copy, whose pages the system copies on write."""


class _ThreadState(threading.local):
    pinned = False


_thread = _ThreadState()


@contextlib.contextmanager
def pinning(pinned: bool) -> Iterator[None]:
    """Let `empty_batch` return pinned memory on this thread if CUDA is available."""
    before, _thread.pinned = _thread.pinned, pinned and torch.cuda.is_available()
    try:
        yield
    finally:
        _thread.pinned = before


def empty_tensor(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a contiguous tensor of undefined content in reusable memory.

    Args:
        shape: Shape of the tensor.
        dtype: dtype of the tensor.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if num_bytes < _MIN_POOLED_BYTES:
        return torch.empty(shape, dtype=dtype)
    return torch.from_numpy(POOL.lend((num_bytes,), "u1")).view(dtype).view(shape)


def empty_batch(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    """Return a contiguous tensor of undefined content for a batch that the trainer receives.

    In a worker process of PyTorch's DataLoader the tensor is in shared memory, so that it reaches
    the trainer without a copy. Under `pinning` it comes from PyTorch's pool of pinned memory, which
    knows when a transfer to the GPU has ended. Otherwise it comes from `empty_tensor`.

    Args:
        shape: Shape of the tensor.
        dtype: dtype of the tensor.
    """
    if get_worker_info() is not None:
        return _empty_shared(shape, dtype)
    if _thread.pinned:
        return torch.empty(shape, dtype=dtype, pin_memory=True)
    return empty_tensor(shape, dtype)


def _empty_shared(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    num_bytes = math.prod(shape) * dtype.itemsize
    storage: Any = torch.UntypedStorage._new_shared(max(num_bytes, 1))
    flat = torch.empty(0, dtype=torch.uint8).set_(storage)
    return flat[:num_bytes].view(dtype).view(shape)

"""Memory of batches is reused, but never while a view of it is alive."""

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from medassets.loaders import batch_memory
from medassets.loaders.batch_memory import empty_batch, empty_tensor, pinning
from medassets.storage.buffers import BufferPool

SHAPE = (3, 64, 64, 32)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> BufferPool:
    """A pool for one test."""
    pool = BufferPool(max_free_bytes=1 << 30, max_kept_bytes=1 << 31)
    monkeypatch.setattr(batch_memory, "POOL", pool)
    return pool


@pytest.mark.parametrize(
    "make_view",
    [
        lambda t: t,
        lambda t: t[1, 2:],
        lambda t: t.permute(0, 3, 1, 2)[:, None],
        lambda t: t.numpy(),
        lambda t: t.numpy()[1].T,
        lambda t: np.asarray(t).view(np.uint8),
        lambda t: memoryview(t.numpy()),
        lambda t: torch.from_numpy(t.numpy()[0]),
        lambda t: t.untyped_storage(),
        lambda t: t.detach().requires_grad_(),
        lambda t: torch.from_dlpack(t),
        lambda t: np.from_dlpack(t),
        lambda t: t.view(torch.int32),
        lambda t: [t.unbind(0)[2]],
        lambda t: iter(t),
        lambda t: lambda: t.sum(),
    ],
    ids=map(str, range(16)),
)
def test_memory_is_not_reused_while_a_view_is_alive(
    pool: BufferPool, make_view: Callable[[torch.Tensor], Any]
) -> None:
    tensor = empty_tensor(SHAPE, torch.float32).fill_(1)
    address = tensor.data_ptr()
    held = make_view(tensor)
    del tensor
    assert pool.free_bytes == 0
    other = empty_tensor(SHAPE, torch.float32).fill_(2)
    assert other.data_ptr() != address
    del held
    assert pool.free_bytes > 0
    assert empty_tensor(SHAPE, torch.float32).data_ptr() == address
    assert (other == 2).all()


def test_a_graph_keeps_what_its_backward_pass_needs(pool: BufferPool) -> None:
    weight = torch.ones(SHAPE, requires_grad=True)
    loss = (weight * empty_tensor(SHAPE, torch.float32).fill_(3)).sum()
    empty_tensor(SHAPE, torch.float32).fill_(7)
    loss.backward()
    assert weight.grad is not None
    assert (weight.grad == 3).all()
    assert pool.free_bytes > 0


def test_threads_never_share_memory(pool: BufferPool) -> None:
    failures: list[int] = []

    def work(number: int) -> None:
        for _ in range(300):
            tensor = empty_tensor((300_000,), torch.uint8).fill_(number)
            view = tensor[::7]
            del tensor
            if not (view == number).all():
                failures.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_memory_freed_by_the_garbage_collector_is_reused(pool: BufferPool) -> None:
    for number in range(50):
        circle: list[Any] = [empty_tensor(SHAPE, torch.uint8).fill_(number)]
        circle.append(circle)
    gc.collect()
    assert pool.free_bytes > 0


def test_a_forked_process_does_not_write_into_its_parents_memory(pool: BufferPool) -> None:
    tensor = empty_tensor(SHAPE, torch.uint8).fill_(1)
    address = tensor.data_ptr()
    child = os.fork()
    if child == 0:
        del tensor
        mine = empty_tensor(SHAPE, torch.uint8)
        # By numpy: OpenMP, which torch fills with, hangs in a forked process.
        mine.numpy()[...] = 2
        os._exit(0 if mine.data_ptr() == address else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tensor == 1).all()


def test_nothing_is_pinned_without_cuda() -> None:
    if torch.cuda.is_available():
        pytest.skip("there is CUDA")
    with pinning(True):
        assert not empty_batch(SHAPE, torch.float16).is_pinned()


@pytest.mark.gpu
def test_pinned_batches_come_from_pytorch() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    with pinning(True):
        assert empty_batch(SHAPE, torch.float16).is_pinned()
    assert not empty_batch(SHAPE, torch.float16).is_pinned()

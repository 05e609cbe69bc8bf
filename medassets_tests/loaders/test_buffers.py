"""Memory that is used again, and never while somebody looks at it."""

import gc
import os
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from medassets.loaders import buffers
from medassets.loaders.buffers import MemoryPool, empty_batch, empty_tensor, pinning

SHAPE = (3, 64, 64, 32)


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> MemoryPool:
    """A pool of the test's own."""
    pool = MemoryPool(max_free_bytes=1 << 30, max_kept_bytes=1 << 31)
    monkeypatch.setattr(buffers, "POOL", pool)
    return pool


@pytest.mark.parametrize(
    "look",
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
def test_memory_is_not_used_again_while_anything_looks_at_it(
    pool: MemoryPool, look: Callable[[torch.Tensor], Any]
) -> None:
    tensor = empty_tensor(SHAPE, torch.float32).fill_(1)
    address = tensor.data_ptr()
    held = look(tensor)
    del tensor
    assert pool.free_bytes == 0
    other = empty_tensor(SHAPE, torch.float32).fill_(2)
    assert other.data_ptr() != address
    del held
    assert pool.free_bytes > 0
    assert empty_tensor(SHAPE, torch.float32).data_ptr() == address
    assert (other == 2).all()


def test_a_graph_keeps_what_its_backward_pass_needs(pool: MemoryPool) -> None:
    weight = torch.ones(SHAPE, requires_grad=True)
    loss = (weight * empty_tensor(SHAPE, torch.float32).fill_(3)).sum()
    empty_tensor(SHAPE, torch.float32).fill_(7)
    loss.backward()
    assert weight.grad is not None
    assert (weight.grad == 3).all()
    assert pool.free_bytes > 0


def test_memory_begins_at_a_page(pool: MemoryPool) -> None:
    assert pool.lend(300_000).ctypes.data % 4096 == 0
    assert len(pool.lend(300_001)) == 300_001


def test_much_larger_memory_is_not_spent_on_small_tensors(pool: MemoryPool) -> None:
    del_me = pool.lend(64 << 20)
    del del_me
    assert pool.lend(1 << 20).nbytes == 1 << 20
    assert pool.free_bytes == 66 << 20


def test_the_pool_is_bounded_and_holds_more_while_a_loader_lives() -> None:
    pool = MemoryPool(max_free_bytes=8 << 20, max_kept_bytes=20 << 20)

    class Keeper:
        pass

    def give_back(count: int) -> None:
        lent = [pool.lend(4 << 20) for _ in range(count)]
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


def test_threads_never_share_memory(pool: MemoryPool) -> None:
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


def test_memory_that_comes_back_by_the_garbage_collector_is_no_trouble(pool: MemoryPool) -> None:
    for number in range(50):
        circle: list[Any] = [empty_tensor(SHAPE, torch.uint8).fill_(number)]
        circle.append(circle)
    gc.collect()
    assert pool.free_bytes > 0


def test_a_forked_process_does_not_write_into_its_parents_memory(pool: MemoryPool) -> None:
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

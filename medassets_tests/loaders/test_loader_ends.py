"""How a loop ends: failures, interrupts, loops left early, memory that stays as it is."""

import gc
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.batch_memory import POOL
from medassets_tests.loaders.damaging import damage
from medassets_tests.loaders.loader_data import (
    KINDS,
    Numbers,
    make_loader,
    threads_left,
    wait_for_threads,
)
from medassets_tests.small_shards import make_shards, make_volume_members


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_failure_reaches_the_caller_at_its_batch(kind: tuple[str, int]) -> None:
    loader = Loader(
        Numbers(20, fail_at=11),
        batch_size=2,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        collate_fn=list,
        persistent_workers=False,
    )
    batches: Iterator[Any] = iter(loader)
    assert [next(batches) for _ in range(5)] == [[n, n + 1] for n in range(0, 10, 2)]
    with pytest.raises(ShardIntegrityError, match="sample 11"):
        next(batches)
    assert loader.state_dict()["batch"] == 5
    del batches
    wait_for_threads()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_damaged_sample_is_named_by_every_worker(own_split: Path, kind: tuple[str, int]) -> None:
    damage(own_split, 6, "bin")
    loader = Loader(
        VolumeDataset(own_split),
        batch_size=2,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
    )
    handed: list[str] = []
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: sample_6: member \.bin is"):
        handed.extend(key for batch in loader for key in batch["key"])
    assert handed == [f"sample_{n}" for n in range(6)]


def test_leaving_a_loop_ends_its_threads_and_frees_its_batches() -> None:
    loader = make_loader(1000, ("thread", 3))
    for _ in loader:
        assert threads_left()
        break
    wait_for_threads()
    assert next(iter(loader)) == [0]
    wait_for_threads()


def test_a_loader_dies_with_its_last_reference() -> None:
    loader = make_loader(100, ("thread", 2))
    batches = iter(loader)
    next(batches)
    del loader, batches
    wait_for_threads()


def test_a_script_that_stops_in_the_middle_ends() -> None:
    code = (
        "from medassets_tests.loaders.loader_data import make_loader\n"
        "batches = iter(make_loader(100000, ('thread', 2)))\n"
        "next(batches)\n"
        "raise KeyboardInterrupt\n"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "KeyboardInterrupt" in done.stderr


class Interrupting(Numbers):
    def __getitem__(self, index: int) -> int:
        if index == 3 and not self.epochs[1:]:
            self.epochs.append(-1)
            os.kill(os.getpid(), 2)
            time.sleep(0.2)
        return index


def test_an_interrupt_loses_no_batch() -> None:
    batches = iter(Loader(Interrupting(6), num_workers=1, prefetch_factor=1, collate_fn=list))
    handed: list[int] = []
    interrupted = 0
    while len(handed) < 6:
        try:
            # The signal may come before or while the batch is waited for.
            for batch in batches:
                handed += batch
                time.sleep(0.05)
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted == 1
    assert set(handed) >= {0, 1, 3, 4, 5}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [("thread", 2), ("process", 1)], ids=str)
def test_memory_does_not_grow_over_twenty_epochs(tmp_path: Path, kind: tuple[str, int]) -> None:
    manifest = make_shards(tmp_path, [6], partial(make_volume_members, shape=(64, 64, 64)))
    loader = Loader(
        VolumeDataset(manifest, dtype="float32"),
        batch_size=2,
        shuffle=True,
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        persistent_workers=True,
    )
    process, used, files = psutil.Process(), [], []
    for _ in range(20):
        for batch in loader:
            assert batch["volume"].shape == (2, 1, 64, 64, 64)
        gc.collect()
        everyone = [process, *process.children(recursive=True)]
        used.append(sum(one.memory_info().rss for one in everyone))
        files.append(process.num_fds())
    # A batch of 2 MB kept per epoch would be 30 MB.
    assert max(used[-5:]) - max(used[2:8]) < 8_000_000
    assert max(files[-5:]) <= max(files[2:8])
    assert POOL.free_bytes < 100_000_000


def test_worker_processes_serve_one_iterator() -> None:
    loader = make_loader(6, ("process", 1))
    first = iter(loader)
    next(first)
    second = iter(loader)
    with pytest.raises(RuntimeError, match="a newer iterator of this loader took"):
        next(first)
    assert list(second) == [[n] for n in range(6)]


def test_a_killed_worker_process_is_replaced_in_the_next_iteration() -> None:
    loader = make_loader(200, ("process", 1))
    # Others too may have children in this process, such as multiprocessing its resource tracker.
    before = set(psutil.Process().children())
    batches = iter(loader)
    next(batches)
    for child in set(psutil.Process().children()) - before:
        child.kill()
    with pytest.raises(RuntimeError, match="worker"):
        list(batches)
    del batches
    assert len(list(loader)) == 200

"""Summary of loaders, and the memory that their batches take."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from medassets.loaders.loader import Loader

_SHARED_MEMORY = Path("/dev/shm")
_MEMORY_LIMIT = Path("/sys/fs/cgroup/memory.max")
# One that the caller uses, one that its variable still holds while it requests the next.
_BATCHES_HANDED = 2


@dataclass(frozen=True)
class LoaderSummary:
    """Settings and sizes of one loader.

    Attributes:
        name: Name of the split.
        num_samples: Samples of the dataset.
        num_batches: Batches per epoch and rank.
        batch_size: Maximum number of samples per batch; fewer than requested if a rank has no more.
        rank: Rank of this process.
        world_size: Number of ranks.
        workers: `thread` or `process`.
        num_workers: Number of workers.
        prefetch_factor: Batches fetched ahead per worker.
        shuffle: Whether epochs are permuted.
        seed: Seed of the permutations.
        pinned: Whether batches are in pinned memory.
        batch_bytes: Size of the first sample's array times the samples of the largest batch.
        bytes_in_flight: Maximum size of the batches alive at once in this process and its workers;
            at most that of an epoch.
    """

    name: str
    num_samples: int
    num_batches: int
    batch_size: int
    rank: int
    world_size: int
    workers: str
    num_workers: int
    prefetch_factor: int
    shuffle: bool
    seed: int
    pinned: bool
    batch_bytes: int
    bytes_in_flight: int

    def __str__(self) -> str:
        """Return one line of text."""
        order = f"shuffled with seed {self.seed}" if self.shuffle else "in order"
        share = f", rank {self.rank} of {self.world_size}" if self.world_size > 1 else ""
        return (
            f"{self.name}: {_count(self.num_samples, 'sample')} {order}, "
            f"{_count(self.num_batches, 'batch')} of {self.batch_size}{share}; "
            f"{self._describe_workers()}, {'pinned' if self.pinned else 'not pinned'}; "
            f"{format_bytes(self.batch_bytes)} a batch, {format_bytes(self.bytes_in_flight)} in flight"
        )

    def _describe_workers(self) -> str:
        if not self.num_workers:
            return "no workers, each batch is fetched when it is asked for"
        kind = {"thread": "thread", "process": "worker process"}[self.workers]
        ahead = _count(self.prefetch_factor, "batch")
        return f"{_count(self.num_workers, kind)} x {ahead} ahead"


def summarize_loader(name: str, loader: Loader) -> LoaderSummary:
    """Summarize a loader.

    Args:
        name: Name of the split.
        loader: The loader; sizes are 0 if its dataset has no `sample_bytes`.
    """
    batch_size = min(loader.batch_size, loader.order.samples_per_rank)
    sample_bytes = getattr(loader.dataset, "sample_bytes", 0)
    in_flight = loader.num_workers * loader.prefetch_factor + _BATCHES_HANDED
    # The last batch of an epoch may be smaller than the others.
    samples = min(in_flight * batch_size, loader.order.samples_per_rank)
    return LoaderSummary(
        name=name,
        num_samples=loader.order.num_samples,
        num_batches=len(loader),
        batch_size=batch_size,
        rank=loader.place.rank,
        world_size=loader.place.world_size,
        workers=loader.workers,
        num_workers=loader.num_workers,
        prefetch_factor=loader.prefetch_factor,
        shuffle=loader.order.shuffle,
        seed=loader.order.seed,
        pinned=loader.pinned,
        batch_bytes=batch_size * sample_bytes,
        bytes_in_flight=samples * sample_bytes,
    )


def find_memory_warnings(
    summaries: Sequence[LoaderSummary],
    *,
    memory_bytes: int,
    shared_bytes: int,
    local_ranks: int = 1,
) -> list[str]:
    """Return warnings about memory, one sentence each.

    Args:
        summaries: All loaders of one process.
        memory_bytes: Memory of the machine or container.
        shared_bytes: Free bytes of /dev/shm.
        local_ranks: Processes like this one on the machine.
    """
    remedy = "lower prefetch_factor, num_workers or batch_size"
    total = local_ranks * sum(one.bytes_in_flight for one in summaries)
    shared = local_ranks * sum(s.bytes_in_flight for s in summaries if s.workers == "process")
    found = []
    if total > memory_bytes / 2:
        found.append(
            f"{format_bytes(total)} in flight are more than half of the memory "
            f"({format_bytes(memory_bytes)}); {remedy}"
        )
    if shared > shared_bytes:
        found.append(
            f"{format_bytes(shared)} in flight are more than /dev/shm has free "
            f"({format_bytes(shared_bytes)}); {remedy}, use workers: thread, or enlarge it "
            "(docker run --shm-size)"
        )
    return found


def measure_memory() -> tuple[int, int, int]:
    """Return memory, free /dev/shm in bytes, and processes of this job on this machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if _MEMORY_LIMIT.exists() and (limit := _MEMORY_LIMIT.read_text().strip()).isdecimal():
        memory = min(memory, int(limit))
    shared = shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.exists() else 0
    return memory, shared, int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def _count(number: int, thing: str) -> str:
    plural = "" if number == 1 else "es" if thing.endswith(("s", "ch")) else "s"
    return f"{number:,} {thing}{plural}"


def format_bytes(count: float) -> str:
    """Return bytes in powers of ten."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"

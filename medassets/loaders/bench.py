"""Measures the throughput of a loader on this machine, and recommends a number of workers."""

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev
from typing import Any

import torch

WORTHWHILE_SPEEDUP = 1.05
"""Two runs differ by up to five per cent."""


@dataclass(frozen=True)
class LoaderTiming:
    """Measurement with one number of workers.

    Attributes:
        num_workers: Number of workers.
        num_batches: Number of measured batches, including the first.
        num_samples: Samples of the batches.
        num_bytes: Size of their tensors.
        first_s: Time from requesting an iterator to its first batch, in s.
        mean_s: Mean wait for each later batch, in s; of the first if there is only one.
        std_s: Standard deviation of these waits, in s.
        total_s: Total time, including transfers, in s.
        transfer_s: Mean time to copy a batch to the GPU, in s; None without a GPU.
    """

    num_workers: int
    num_batches: int
    num_samples: int
    num_bytes: int
    first_s: float
    mean_s: float
    std_s: float
    total_s: float
    transfer_s: float | None = None

    @property
    def samples_per_s(self) -> float:
        """Samples per second, including the first batch."""
        return self.num_samples / self.total_s

    @property
    def bytes_per_s(self) -> float:
        """Bytes of tensors per second."""
        return self.num_bytes / self.total_s


@dataclass(frozen=True)
class Recommendation:
    """A recommended number of workers, with reasons.

    Attributes:
        num_workers: The fewest workers (at least one, if measured) within five per cent of the
            fastest.
        reasons: Reasons, one sentence each.
    """

    num_workers: int
    reasons: tuple[str, ...]


def time_loader(
    loader: Iterable[Any], *, num_workers: int, num_batches: int, device: torch.device | None = None
) -> LoaderTiming:
    """Measure the first batches of a loader.

    Args:
        loader: Yields batches: tensors, or mappings and sequences of them.
        num_workers: Number of workers to report.
        num_batches: Number of batches to read; fewer if the loader ends earlier.
        device: Device to copy batches to; None: no copy.

    Raises:
        ValueError: If the loader yields no batch.
    """
    waits: list[float] = []
    transfers: list[float] = []
    samples = size = 0
    started = asked = time.perf_counter()
    for batch in itertools.islice(loader, num_batches):
        waits.append(time.perf_counter() - asked)
        tensors = list(_tensors(batch))
        samples += _count_samples(batch)
        size += sum(tensor.nbytes for tensor in tensors)
        if device is not None:
            transfers.append(_time_transfer(tensors, device))
        asked = time.perf_counter()
    total = asked - started
    if not waits:
        msg = "the loader gave no batch; ask for smaller batches"
        raise ValueError(msg)
    later = waits[1:] or waits
    return LoaderTiming(
        num_workers, len(waits), samples, size, waits[0], fmean(later), pstdev(later), total,
        fmean(transfers) if transfers else None,
    )  # fmt: skip


def recommend_workers(timings: Sequence[LoaderTiming], num_cores: int) -> Recommendation:
    """Choose among measured numbers of workers.

    Args:
        timings: Measurements, at least one.
        num_cores: Number of cores of this machine.
    """
    # Without workers nothing is read during a training step, however fast an empty loop is.
    overlapping = [timing for timing in timings if timing.num_workers] or timings
    fastest = max(overlapping, key=lambda timing: timing.samples_per_s)
    enough = [
        t for t in overlapping if t.samples_per_s * WORTHWHILE_SPEEDUP >= fastest.samples_per_s
    ]
    chosen = min(enough, key=lambda timing: timing.num_workers)
    return Recommendation(chosen.num_workers, tuple(_reasons(chosen, fastest, timings, num_cores)))


def _reasons(
    chosen: LoaderTiming, fastest: LoaderTiming, timings: Sequence[LoaderTiming], num_cores: int
) -> Iterator[str]:
    speed = f"{chosen.samples_per_s:.1f} samples/s, {chosen.bytes_per_s / 1e9:.2f} GB/s"
    yield f"{_count(chosen)}: {speed}"
    if chosen.num_workers and any(not timing.num_workers for timing in timings):
        yield "0 workers are not considered: they read while training waits, and never during a step"
    if fastest is not chosen:
        gain = 100 * (fastest.samples_per_s / chosen.samples_per_s - 1)
        yield f"{_count(fastest)} would be {gain:.0f} % faster, less than two runs differ by"
    slower = [t for t in timings if t.num_workers > chosen.num_workers and t is not fastest]
    if slower:
        worst = min(slower, key=lambda timing: timing.samples_per_s)
        share = 100 * worst.samples_per_s / chosen.samples_per_s
        yield f"more do not help: with {_count(worst)} it is {share:.0f} % of that"
    if chosen.num_workers > num_cores:
        yield f"this machine has {num_cores} cores: the workers wait for the disk, not for a core"
    if chosen.num_batches > 2 and chosen.std_s > 0.5 * chosen.mean_s and chosen.mean_s > 1e-3:
        spread = f"{1e3 * chosen.std_s:.0f} ms around {1e3 * chosen.mean_s:.0f} ms"
        yield f"waits vary by {spread}: something else uses this machine or its disk"
    if chosen.transfer_s is not None and chosen.transfer_s > chosen.mean_s:
        yield "bringing batches to the GPU takes longer than reading: pin memory, use float16"


def _count(timing: LoaderTiming) -> str:
    return f"{timing.num_workers} worker" + "s" * (timing.num_workers != 1)


def _count_samples(batch: Any) -> int:
    if isinstance(batch, Mapping):
        # Points of several samples are joined; batch_idx holds the sample of each.
        if "batch_idx" in batch:
            return int(batch["batch_idx"].max()) + 1 if len(batch["batch_idx"]) else 0
        return len(next(iter(batch.values())))
    return len(batch)


def _tensors(batch: Any) -> Iterator[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        yield batch
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from _tensors(value)
    elif isinstance(batch, list | tuple):
        for value in batch:
            yield from _tensors(value)


def _time_transfer(tensors: Sequence[torch.Tensor], device: torch.device) -> float:
    started = time.perf_counter()
    moved = [tensor.to(device, non_blocking=True) for tensor in tensors]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    del moved
    return time.perf_counter() - started

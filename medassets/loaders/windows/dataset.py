"""Sparse CT windows for PyTorch, from shards and from `.npy` and `.npz` folders."""

import logging
import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, get_worker_info

from medassets.errors import WindowFileError
from medassets.loaders.batch_memory import empty_batch
from medassets.loaders.windows.instances import (
    DAMAGED,
    Instance,
    Instances,
    LeftOut,
    Roots,
    describe_files,
    find_instances,
    split_roots,
)
from medassets.loaders.windows.point_lists import PointList
from medassets.loaders.windows.points import KeptSource, Points, PointSource
from medassets.loaders.windows.preview import draw_batch
from medassets.specs import STANDARD_WINDOWS
from medassets.storage.memory import read_available_bytes
from medassets.volumes.windows.masks import name_window_file
from medassets.volumes.windows.occupancy import draw_ranks

logger = logging.getLogger(__name__)

MAX_PRELOADED = 100
"""Larger datasets are not read into memory before training starts."""

Sample = dict[str, torch.Tensor]


class CTWindowSparseSDF(Dataset[Sample]):
    """Points of one CT window per instance: map-style and seeded.

    A sample is a dict: `sparse_sdf` float32 (N, 1), the values (1 for a mask), and `sparse_index`
    int64 (N, 3), the positions (i, j, k). If an instance has more than `max_points`, they are
    sampled uniformly without replacement, another set in each epoch; equal (seed, epoch, index) give
    equal points in any process, with any number of workers. `medassets.loaders.Loader` sets the epoch;
    with any other loader call `set_epoch(epoch)` before each epoch, otherwise the points repeat and a
    warning is given once.

    Roots may be mixed: a folder with `**/metadata.csv` beside `processed/<case>/windows/`, a folder
    `processed`, a folder of cases, or shards of our windows (manifest, folder of a split, pattern).

    Differences from the loader it replaces: an instance that is damaged or has fewer than
    `min_points` is left out when the index is built (`left_out`, `get_stats()`), never replaced by
    a random other one; one that is damaged later raises an error that names it. Cases are sorted by
    name. Points change with `set_epoch`, not with every call.

    Args:
        roots: Folders or shards, separated by commas, or a list of them.
        resolution: Side of the grid, for images; positions are returned as stored.
        window_type: Name of the window: `lung`, `bone`, `soft_tissue`, `brain`, or any other in
            the roots.
        min_points: Instances with fewer points are left out.
        max_points: Maximum number of points of a sample; None for all.
        cache_data: Keep instances in memory. Up to 100 instances are read when the dataset is made. Of
            more, shards and masks are read each time, which takes milliseconds; lists (`.npz`)
            are kept after their first read, in each process that reads them.
        precompute_sparse: Keep one bit per voxel instead of a byte, and lists even without
            `cache_data`.
        seed: Seed of the sampling.
        memory_share: Share of the available memory that kept instances may take; the others are
            read each time.
        require_complete: Refuse manifests that lack samples of their plan, or list
            older shards than today's. Otherwise one warning says what they lack.

    Attributes:
        instances: One dict each: `dataset_root, case_id, case_dir, window_path, num_points`.
        metadata: Case -> row of its dataset's table.
        left_out: Instances that are not part of the dataset, with their reasons.
        index: Files that are read, and a digest of what is sampled from them, for a loader's state.
        value_range: Range of the values, for images.

    Raises:
        ValueError: If an argument is out of range, if no root has the window and it is not a standard
            one (the message lists those available), or if a root holds shards of several splits.
        ShardIntegrityError: If a shard is missing or damaged; the message names it and the remedy.
        IncompleteManifestError: If manifests must be complete, and one is not.
        WrongLoaderError: If shards hold samples of another kind.
    """

    def __init__(
        self,
        roots: Roots,
        resolution: int = 512,
        window_type: str = "lung",
        min_points: int = 100,
        max_points: int | None = 500000,
        cache_data: bool = True,
        precompute_sparse: bool = True,
        *,
        seed: int = 0,
        memory_share: float = 0.5,
        require_complete: bool = False,
    ) -> None:
        super().__init__()
        _check("seed", seed, at_least=0)
        _check("resolution", resolution, at_least=1)
        if max_points is not None:
            _check("max_points", max_points, at_least=1)
        if not 0 <= memory_share <= 1:
            msg = f"memory_share: expected 0 to 1, got {memory_share!r}"
            raise ValueError(msg)
        self.roots = split_roots(roots)
        self.resolution = resolution
        self.window_type = window_type
        self.min_points = min_points
        self.max_points = max_points
        self.cache_data = cache_data
        self.precompute_sparse = precompute_sparse
        self.seed = seed
        self.value_range = (0, 1)
        # Shared, so that persistent workers see a new epoch; -1 until one is set.
        self._epoch = torch.full((), -1, dtype=torch.int64).share_memory_()
        self._own_epoch: int | None = None
        found = find_instances(
            self.roots, window_type, min_points=min_points, require_complete=require_complete
        )
        self._kept: dict[int, KeptSource] = {}
        available = read_available_bytes()
        self._most_kept_bytes = int(available * memory_share)
        self._reserve_bytes = available - self._most_kept_bytes
        if cache_data and len(found.instances) <= MAX_PRELOADED:
            found = self._preload(found)
        self._sources = [instance.source for instance in found.instances]
        self.instances = [instance.facts for instance in found.instances]
        # Shared, because most workers end with the epoch; the last element: a warning was given.
        self._drawn = torch.zeros(len(self.instances) + 1, dtype=torch.uint8).share_memory_()
        self.index = describe_files(found.instances, [window_type, max_points, seed])
        self.metadata = found.metadata
        self.left_out: Sequence[LeftOut] = tuple(found.left_out)
        self._log_summary(found)

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.instances)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample.

        Raises:
            IndexError: If the index is out of range.
            MedassetsError: If it can no longer be read; the message names file, or shard and sample.
        """
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            msg = f"instance {index} of {len(self)}"
            raise IndexError(msg)
        rng = np.random.default_rng((self.seed, self.epoch, number))
        points = self._draw(number, rng)
        values = points.values
        if values is None:
            # torch.ones starts a thread pool for this, which costs more than everything else.
            sparse_sdf = torch.from_numpy(np.ones((len(points.index), 1), np.float32))
        else:
            sparse_sdf = torch.from_numpy(values)
        return {"sparse_sdf": sparse_sdf, "sparse_index": torch.from_numpy(points.index)}

    @property
    def window_filename(self) -> str:
        """Name of the window's file in folders; for a custom window, without width and level."""
        window = STANDARD_WINDOWS.get(self.window_type)
        return name_window_file(window) if window else f"{self.window_type}.npy"

    @property
    def epoch(self) -> int:
        """Epoch whose points are sampled; 0 until one is set."""
        return max(int(self._epoch), 0) if self._own_epoch is None else self._own_epoch

    def set_epoch(self, epoch: int) -> None:
        """Sample the points of another epoch from now on, also in running worker processes.

        Args:
            epoch: Number of the epoch, 0 or more.

        Raises:
            ValueError: If it is not an integer of 0 or more.
        """
        _check("epoch", epoch, at_least=0)
        if get_worker_info() is None:
            self._epoch.fill_(epoch)
        else:
            # A worker whose own loader sets the epoch is ahead of the others.
            self._own_epoch = epoch

    def collate_fn(self, batch: Sequence[Sample]) -> Sample:
        """Join samples into a batch.

        Returns:
            `sparse_sdf` float32 (total, 1), `sparse_index` int64 (total, 3) and `batch_idx` int64
            (total,), the index in the batch of each point's sample.
        """
        counts = [len(sample["sparse_sdf"]) for sample in batch]
        total = sum(counts)
        shapes = {
            "sparse_sdf": ((total, 1), torch.float32),
            "sparse_index": ((total, 3), torch.int64),
        }
        joined = {
            name: torch.cat([sample[name] for sample in batch], out=empty_batch(*shape))
            for name, shape in shapes.items()
        }
        batch_idx = empty_batch((total,), torch.int64)
        for number, part in enumerate(batch_idx.split(counts)):
            part.fill_(number)
        return {**joined, "batch_idx": batch_idx}

    def get_stats(self) -> dict[str, Any]:
        """Return the size of the dataset, its settings, and the instances left out by reason."""
        return {
            "num_instances": len(self.instances),
            "window_type": self.window_type,
            "resolution": self.resolution,
            "min_points": self.min_points,
            "max_points": self.max_points,
            "left_out": Instances(left_out=list(self.left_out)).count_left_out(),
            "num_kept": len(self._kept),
        }

    @torch.no_grad()
    def visualize_sample(self, sample: Sample) -> torch.Tensor:
        """Draw the samples of a batch: four slices along each axis.

        Args:
            sample: What `collate_fn` returned.

        Returns:
            float32 (samples, 1, 384, 512), at most 16 samples, on the device of the values.
        """
        return draw_batch(
            sample["sparse_sdf"],
            sample["sparse_index"],
            sample["batch_idx"],
            resolution=self.resolution,
        )

    def __str__(self) -> str:
        """Return a description of a few lines."""
        lines = [
            "CTWindowSparseSDF Dataset",
            "=" * 50,
            f"Window Type: {self.window_type}",
            f"Resolution: {self.resolution}",
            f"Instances: {len(self)}",
            f"Point Range: [{self.min_points}, {self.max_points}]",
        ]
        return "\n".join(lines)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without the kept instances (possibly gigabytes)."""
        return {**self.__dict__, "_kept": {}}

    def _draw(self, number: int, rng: np.random.Generator) -> Points:
        def pick(total: int) -> npt.NDArray[np.int64]:
            most = total if self.max_points is None else min(total, self.max_points)
            if most == total:
                return np.arange(total)
            self._watch_epochs(number)
            return draw_ranks(total, most, rng)

        points = self._kept.get(number)
        if points is None:
            points = self._sources[number]
            # Each worker keeps its own copy; only inflating a list is slow enough to be worth it.
            kept = self._keep(points) if isinstance(points, PointList) else None
            if kept is not None:
                points = self._kept[number] = kept
        return points.draw(pick)

    def _watch_epochs(self, number: int) -> None:
        """Warn once in all processes if points are sampled again and no epoch was set."""
        if self._own_epoch is not None or int(self._epoch) >= 0 or self._drawn[-1]:
            return
        if self._drawn[number]:
            # Only the first worker warns: two that look at the mark at once would both do it.
            worker = get_worker_info()
            if worker is not None and worker.id != 0:
                return
            self._drawn[-1] = 1
            msg = (
                f"instance {number} is read again and gives the same points, because no epoch was "
                "set: call set_epoch(epoch) before each epoch, or use medassets.loaders.Loader"
            )
            warnings.warn(msg, UserWarning, stacklevel=2)
        self._drawn[number] = 1

    def _keep(self, source: PointSource) -> KeptSource | None:
        """Read an instance into memory if it is to be kept and there is room."""
        if not (self.cache_data or self.precompute_sparse):
            return None
        if source.most_bytes > self._most_kept_bytes:
            return None
        if read_available_bytes() - source.most_bytes < self._reserve_bytes:
            return None
        return source.keep(sparse=self.precompute_sparse)

    def _preload(self, found: Instances) -> Instances:
        """Read every instance into memory, and leave out damaged ones."""

        def keep(item: Instance) -> KeptSource | LeftOut | None:
            try:
                return self._keep(item.source)
            except WindowFileError as error:
                facts = item.facts
                return LeftOut(facts["case_id"], facts["window_path"], DAMAGED, str(error))

        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            results = list(threads.map(keep, found.instances))
        left_out = [result for result in results if isinstance(result, LeftOut)]
        whole = [
            (instance, result)
            for instance, result in zip(found.instances, results, strict=True)
            if not isinstance(result, LeftOut)
        ]
        self._kept = {n: kept for n, (_, kept) in enumerate(whole) if kept is not None}
        return replace(
            found,
            instances=[instance for instance, _ in whole],
            left_out=[*found.left_out, *left_out],
        )

    def _log_summary(self, found: Instances) -> None:
        counts = found.count_left_out()
        parts = [f"{self.window_type}: {len(self):,} instances"]
        parts += [f"{count:,} left out ({reason})" for reason, count in counts.items()]
        parts += [f"{len(self._kept):,} kept in memory"]
        logger.log(logging.WARNING if counts or not len(self) else logging.INFO, "; ".join(parts))
        for item in found.left_out[:5]:
            logger.warning("%s: %s: %s", item.path, item.reason, item.detail)


def _check(name: str, value: Any, *, at_least: int) -> None:
    """Refuse a value that would fail, or be ignored, only when samples are read."""
    is_integer = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not is_integer or value < at_least:
        msg = f"{name}: expected an integer of {at_least} or more, got {value!r}"
        raise ValueError(msg)

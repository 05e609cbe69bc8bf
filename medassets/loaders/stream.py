"""Volumes in the order of their shards, read ahead."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from medassets.loaders.collate import Sample, collate_samples
from medassets.loaders.members import Check
from medassets.loaders.order import EpochOrder, Uneven
from medassets.loaders.ranks import find_place
from medassets.loaders.volumes import VolumeDataset, VolumeDtype
from medassets.tars.lists import Source


class VolumeStream(IterableDataset[Sample]):
    """The iterable twin of `VolumeDataset`: plain sequential reading, for inference or statistics.

    Each rank reads a stretch of neighbouring samples, and each worker of a DataLoader a stretch of
    that; the kernel is told of the next sample while one is handed over. Every rank gets the same
    number of samples, and with equal workers the same number of batches. `len` counts samples: with
    several workers, each with a last batch of its own, more batches may come than the `len` of a
    DataLoader says.

    Args:
        source: As for `VolumeDataset`.
        dtype: Of the volumes.
        check: When contents are compared with their checksums.
        rank: Rank of this process; found out when both are None.
        world_size: Number of ranks.
        uneven: `pad` repeats samples from the beginning, `drop` leaves out at most world_size - 1
            at the end, so that all ranks have as many.

    Raises:
        ShardIntegrityError: If a shard is missing, cut off, or not what its record says.
        ValueError: If an argument is unknown, or a rank would get no sample.
    """

    def __init__(
        self,
        source: Source,
        *,
        dtype: VolumeDtype = "float16",
        check: Check = "first",
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "pad",
    ) -> None:
        self.volumes = VolumeDataset(source, dtype=dtype, check=check)
        self._place = find_place(rank, world_size)
        self._order = EpochOrder(
            num_samples=len(self.volumes),
            shuffle=False,
            world_size=self._place.world_size,
            uneven=uneven,
        )

    collate_fn = staticmethod(collate_samples)
    """As that of `VolumeDataset`."""

    def __len__(self) -> int:
        """Return the number of samples of this rank, whatever the workers."""
        return self._order.samples_per_rank

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples of this rank, or of this worker's share of them.

        Raises:
            ShardIntegrityError: If one is damaged; names shard, sample and remedy.
        """
        numbers = self._take_share()
        for index, number in enumerate(numbers):
            if index + 1 < len(numbers):
                self.volumes.expect(int(numbers[index + 1]))
            yield self.volumes[int(number)]

    def _take_share(self) -> np.ndarray:
        worker = get_worker_info()
        if worker is None:
            # Worker processes know of no process group; their parent has looked.
            self._place.check_still()
        count = len(self)
        stretch = np.arange(self._place.rank * count, (self._place.rank + 1) * count)
        # Beyond the end the order begins again: padding.
        stretch %= len(self.volumes)
        return stretch if worker is None else np.array_split(stretch, worker.num_workers)[worker.id]

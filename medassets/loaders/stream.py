"""PyTorch iterable dataset of volumes in shard order."""

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
    """Iterable variant of `VolumeDataset`: sequential reading, for inference or statistics.

    Each rank reads a range of neighbouring samples, and each worker of a DataLoader a part of that
    range; the kernel reads the next sample ahead. Every rank gets the same number of samples, and
    with equal workers the same number of batches. `len` counts samples: with several workers, each
    with its own last batch, there may be more batches than the `len` of a DataLoader.

    Args:
        source: As for `VolumeDataset`.
        dtype: dtype of the volumes.
        check: When contents are compared with their checksums.
        label_type: As for `VolumeDataset`.
        rank: Rank of this process; detected if both are None.
        world_size: Number of ranks.
        uneven: `pad` repeats samples from the beginning, `drop` leaves out at most world_size - 1
            at the end, so that all ranks have the same number.
        require_complete: Refuse a manifest that lacks samples of its plan, or lists older shards than
            today's. Otherwise one warning says what it lacks.

    Raises:
        IncompleteManifestError: If the manifest must be complete, and is not.
        ShardIntegrityError: If a shard is missing, cut off, or differs from its record.
        ValueError: If an argument is invalid, or a rank would get no sample.
    """

    def __init__(
        self,
        source: Source,
        *,
        dtype: VolumeDtype = "float16",
        check: Check = "first",
        label_type: str | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: Uneven = "pad",
        require_complete: bool = False,
    ) -> None:
        self.volumes = VolumeDataset(
            source,
            dtype=dtype,
            check=check,
            label_type=label_type,
            require_complete=require_complete,
        )
        self._place = find_place(rank, world_size)
        self._order = EpochOrder(
            num_samples=len(self.volumes),
            shuffle=False,
            world_size=self._place.world_size,
            uneven=uneven,
        )

    collate_fn = staticmethod(collate_samples)
    """The same as of `VolumeDataset`."""

    def __len__(self) -> int:
        """Return the number of samples of this rank, for any number of workers."""
        return self._order.samples_per_rank

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples of this rank, or of this worker's share of them.

        Raises:
            ShardIntegrityError: If a sample is damaged; the message names shard, sample and remedy.
        """
        numbers = self._take_share()
        for index, number in enumerate(numbers):
            if index + 1 < len(numbers):
                self.volumes.expect(int(numbers[index + 1]))
            yield self.volumes[int(number)]

    def _take_share(self) -> np.ndarray:
        worker = get_worker_info()
        if worker is None:
            # Worker processes have no process group; their parent has checked.
            self._place.check_still()
        count = len(self)
        stretch = np.arange(self._place.rank * count, (self._place.rank + 1) * count)
        # Padding: after the end, the order starts again.
        stretch %= len(self.volumes)
        return stretch if worker is None else np.array_split(stretch, worker.num_workers)[worker.id]

"""Order of the samples of an epoch, and their distribution over ranks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

Uneven = Literal["drop", "pad"]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class EpochOrder:
    """Order of the samples, determined by the fields and the epoch alone.

    An epoch's order sorts the samples by raw 64-bit numbers of PCG64, seeded by
    `SeedSequence((seed, epoch))`: the stream of a bit generator is the same in all versions of
    numpy and on all machines, which `shuffle` does not guarantee. Rank r takes every world_size-th
    sample starting at the r-th, so that all ranks together follow one global permutation.

    Attributes:
        num_samples: Samples of the dataset.
        batch_size: Samples per batch and rank.
        shuffle: Use a new permutation in each epoch; otherwise the order of the shards.
        seed: Seed of the permutation.
        world_size: Number of ranks.
        uneven: Samples that do not divide among the ranks: `drop` leaves out at most world_size - 1
            at the end of the order, other ones in each epoch; `pad` repeats samples from its start.
        drop_last: Leave out an incomplete last batch.
        shard_window: Shuffle the shards, and samples within groups of this number of neighbouring
            shards, for disks and object stores with slow random access. None: among all.
        shard_ends: int64 (num_shards,), number of samples up to the end of each shard.

    Raises:
        ValueError: If a field is out of range, or a rank would get no batch.
    """

    num_samples: int
    batch_size: int = 1
    shuffle: bool = True
    seed: int = 0
    world_size: int = 1
    uneven: Uneven = "pad"
    drop_last: bool = False
    shard_window: int | None = None
    shard_ends: Sequence[int] | Indices = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the fields."""
        for name in ("num_samples", "batch_size", "world_size", "shard_window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                msg = f"{name}: expected 1 or more, got {value}"
                raise ValueError(msg)
        if self.seed < 0:
            msg = f"seed: expected 0 or more, got {self.seed}"
            raise ValueError(msg)
        if self.uneven not in get_args(Uneven):
            msg = f"uneven: expected drop or pad, got {self.uneven!r}"
            raise ValueError(msg)
        if self.shard_window is not None and not len(self.shard_ends):
            msg = "shard_window: the dataset has no attribute index.shard_ends to tell its shards"
            raise ValueError(msg)
        if not self.num_batches:
            lacking = (
                f"{self.num_samples} samples make no batch of {self.batch_size} for each of "
                f"{self.world_size} ranks"
            )
            msg = f"{lacking} with {self.uneven = }, {self.drop_last = }; use uneven='pad', drop_last=False"
            raise ValueError(msg.replace("self.", ""))

    @property
    def samples_per_rank(self) -> int:
        """Samples of each rank in an epoch, including those of a dropped last batch."""
        if self.uneven == "drop":
            return self.num_samples // self.world_size
        return -(-self.num_samples // self.world_size)

    @property
    def num_batches(self) -> int:
        """Batches of each rank in an epoch."""
        if self.drop_last:
            return self.samples_per_rank // self.batch_size
        return -(-self.samples_per_rank // self.batch_size)

    def arrange(self, epoch: int) -> Indices:
        """Return the global order of an epoch.

        Returns:
            int64 (num_samples,), each sample once.
        """
        if not self.shuffle:
            return np.arange(self.num_samples)
        bits = np.random.PCG64(np.random.SeedSequence((self.seed, epoch)))
        if self.shard_window is None:
            return np.argsort(bits.random_raw(self.num_samples), kind="stable")
        num_shards = len(self.shard_ends)
        place = np.empty(num_shards, np.int64)
        place[np.argsort(bits.random_raw(num_shards), kind="stable")] = np.arange(num_shards)
        shards = np.searchsorted(self.shard_ends, np.arange(self.num_samples), side="right")
        windows = place[shards] // self.shard_window
        return np.lexsort((bits.random_raw(self.num_samples), windows))

    def take_rank(self, epoch: int, rank: int) -> Indices:
        """Return the samples of one rank, in order.

        Returns:
            int64 (samples_per_rank,).
        """
        whole = np.resize(self.arrange(epoch), self.samples_per_rank * self.world_size)
        return whole[rank :: self.world_size]

    def plan_batches(self, epoch: int, rank: int, *, start: int = 0) -> list[list[int]]:
        """Return the batches of one rank, starting at one batch.

        Args:
            epoch: The epoch.
            rank: The rank.
            start: Number of batches to skip.
        """
        samples, size = self.take_rank(epoch, rank).tolist(), self.batch_size
        return [samples[n * size : (n + 1) * size] for n in range(start, self.num_batches)]

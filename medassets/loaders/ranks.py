"""Rank of this process in a distributed job."""

import os
from dataclasses import dataclass

import torch.distributed


@dataclass(frozen=True)
class Place:
    """One rank of a job.

    Attributes:
        rank: Number of the rank.
        world_size: Number of ranks.
        given: Whether the caller gave it; otherwise it was detected.
    """

    rank: int
    world_size: int
    given: bool = False

    def check_still(self) -> None:
        """Check for a process group that was made after the rank was detected.

        Raises:
            RuntimeError: If the process group has another rank: every rank would get all samples.
        """
        now = find_place(None, None)
        if not self.given and (now.rank, now.world_size) != (self.rank, self.world_size):
            msg = (
                f"the loader was built as rank {self.rank} of {self.world_size}, but this process is "
                f"rank {now.rank} of {now.world_size}; build loaders after init_process_group, or "
                "pass rank and world_size"
            )
            raise RuntimeError(msg)


def find_place(rank: int | None, world_size: int | None) -> Place:
    """Return the rank of this process: as given, from the process group or from torchrun.

    Raises:
        ValueError: If only one of both is given, or the rank is not below the world size.
    """
    if (rank is None) != (world_size is None):
        msg = f"rank and world_size: expected both or neither, got {rank = }, {world_size = }"
        raise ValueError(msg)
    if rank is not None and world_size is not None:
        if not 0 <= rank < world_size:
            msg = f"rank: expected 0 to {world_size - 1} of {world_size = }, got {rank}"
            raise ValueError(msg)
        return Place(rank, world_size, given=True)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return Place(torch.distributed.get_rank(), torch.distributed.get_world_size())
    if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        return Place(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return Place(0, 1)

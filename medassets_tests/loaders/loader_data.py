"""A loader of numbers that are their own index, and what becomes of its threads."""

import threading
import time
from typing import Any

from torch.utils.data import Dataset

from medassets.errors import ShardIntegrityError
from medassets.loaders import Loader

KINDS = [("thread", 0), ("thread", 1), ("thread", 3), ("process", 2)]


class Numbers(Dataset[int]):
    """Samples that are their own index; slow ones at random."""

    def __init__(self, count: int, fail_at: int | None = None) -> None:
        self.count = count
        self.fail_at = fail_at
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return self.count

    def set_epoch(self, epoch: int) -> None:
        self.epochs.append(epoch)

    def __getitem__(self, index: int) -> int:
        if index == self.fail_at:
            msg = f"sample {index}"
            raise ShardIntegrityError(msg)
        time.sleep(0.0005 * (index % 3))
        return index


def make_loader(count: int, kind: tuple[str, int], **arguments: Any) -> Loader:
    return Loader(
        Numbers(count),
        workers=kind[0],  # pyright: ignore[reportArgumentType]
        num_workers=kind[1],
        collate_fn=list,
        **arguments,
    )


def threads_left() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("medassets-loader")]


def wait_for_threads() -> None:
    deadline = time.monotonic() + 30
    while threads_left() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not threads_left()

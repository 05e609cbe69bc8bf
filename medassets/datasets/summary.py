"""How far a stage is, how fast it goes, and when it will be done, told by the files on disk."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from medassets.datasets.accounts import Books, open_books
from medassets.datasets.workspace import Workspace
from medassets.shards.account import Account, join_accounts
from medassets.storage.disk import free_bytes

WINDOW_S = 3600.0
"""Shards of the last hour tell how fast a stage is made."""

DONE = "done"


@dataclass(frozen=True)
class Throughput:
    """Samples that were made lately.

    Attributes:
        num_samples: Samples of the shards that were published within the window, without those of
            the first: it was begun before.
        seconds: Time from the first of these shards until now; a build that stands still gets slower.
    """

    num_samples: int
    seconds: float

    @property
    def samples_per_s(self) -> float | None:
        """Samples per second; None if fewer than two shards were made within the window."""
        return self.num_samples / self.seconds if self.num_samples and self.seconds > 0 else None


@dataclass(frozen=True)
class Summary:
    """One stage of a dataset at one moment.

    Attributes:
        dataset: Its name.
        stage: The stage.
        account: All source items by state.
        shards: State -> number of shards; `done`, or why they are left (`Left`).
        throughput: How fast it is made now.
        free_bytes: What may still be written to its disk.
    """

    dataset: str
    stage: str
    account: Account
    shards: Mapping[str, int]
    throughput: Throughput
    free_bytes: int

    @property
    def num_shards(self) -> int:
        """All planned shards."""
        return sum(self.shards.values())

    @property
    def seconds_left(self) -> float | None:
        """Time until the rest is made at this rate; None while nothing is made."""
        rate = self.throughput.samples_per_s
        return self.account.num_left / rate if rate else None

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "dataset": self.dataset,
            "stage": self.stage,
            "account": self.account.as_dict(),
            "shards": dict(self.shards),
            "samples_per_s": self.throughput.samples_per_s,
            "seconds_left": self.seconds_left,
            "free_bytes": self.free_bytes,
        }


def summarize(workspace: Workspace, *, now: float, books: Books | None = None) -> Summary:
    """Look at catalog and shards of a stage.

    Args:
        workspace: The dataset and stage.
        now: Seconds since the epoch.
        books: What was read of the disk; None reads it.

    Raises:
        CatalogError: If there is no catalog yet, or it is not readable.
    """
    books = books or open_books(workspace)
    states = Counter(str(DONE if one.record else one.left) for one in books.shards.values())
    return Summary(
        dataset=workspace.kind.spec.name,
        stage=workspace.kind.stage,
        account=join_accounts(books.draw().values()),
        shards=dict(states),
        throughput=measure_throughput(_list_made(workspace, books), now=now),
        free_bytes=free_bytes(workspace.paths.folder),
    )


def measure_throughput(made: Iterable[tuple[float, int]], *, now: float) -> Throughput:
    """Return the throughput of the shards that were published within `WINDOW_S`.

    Args:
        made: Time when a shard was published, in seconds since the epoch, and its samples.
        now: The same clock.
    """
    lately = sorted(one for one in made if now - WINDOW_S <= one[0] <= now)
    if len(lately) < 2:
        return Throughput(0, 0.0)
    return Throughput(sum(count for _, count in lately[1:]), now - lately[0][0])


def _list_made(workspace: Workspace, books: Books) -> Iterable[tuple[float, int]]:
    for key, found in books.shards.items():
        if found.record is None:
            continue
        try:
            time = workspace.paths.record(key).stat().st_mtime
        except FileNotFoundError:
            # It was replaced or removed since it was read.
            continue
        yield time, found.record.num_samples

"""A dataset behind a local Hub, and what was asked for, staged and built of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from medassets.datasets.build import build_shard, open_ahead, plan_shard
from medassets.datasets.workspace import Workspace
from medassets.progress import SampleDone
from medassets.sources.hub import HubSource
from medassets.testing.hub import LocalHub


@dataclass
class Served:
    """The dataset and its hub.

    Attributes:
        hub: Serves the files.
        workspace: Where they are staged and built.
    """

    hub: LocalHub
    workspace: Workspace

    @property
    def keys(self) -> list[str]:
        """Partition keys of the plan."""
        return list(self.workspace.read_plan().partitions)

    def paths(self, number: int) -> set[str]:
        """Return the paths of the files of one shard."""
        return {item.path for item in self.workspace.read_partition(self.keys[number])}

    def num_bytes(self, *numbers: int) -> int:
        """Return the bytes of the files of some shards."""
        paths = set[str]().union(*(self.paths(number) for number in numbers))
        described = self.workspace.source.describe(sorted(paths), revision=self.hub.sha)
        return sum(file.num_bytes or 0 for file in described.values())

    def asked(self, number: int) -> set[str]:
        """Return the files of one shard whose bytes the hub was asked for."""
        return {str(one.path) for one in self.hub.requests("body")} & self.paths(number)

    def staged(self, number: int) -> set[str]:
        """Return the files of one shard that are staged."""
        return set(self.workspace.staging.lookup(self.paths(number), revision=self.hub.sha))

    def with_budget(self, num_bytes: int) -> "Served":
        """Return the same with another staging budget, and little patience for room."""
        staging = replace(self.workspace.staging, budget_bytes=num_bytes, wait_timeout_s=2.0)
        return Served(self.hub, replace(self.workspace, staging=staging))

    def with_policy(self, **changes: float) -> "Served":
        """Return the same with other retries."""
        assert isinstance(self.workspace.source, HubSource)
        policy = replace(self.workspace.source.policy, **changes)  # pyright: ignore[reportArgumentType]
        source = replace(self.workspace.source, policy=policy)
        return Served(self.hub, replace(self.workspace, source=source))

    def build(self, observe: Callable[[SampleDone], None] | None = None) -> None:
        """Build all shards, each while the files of the next are fetched."""
        with open_ahead(self.workspace, self.keys) as ahead, ahead.serving():
            for key in self.keys:
                self.build_one(key, observe)

    def build_one(self, key: str, observe: Callable[[SampleDone], None] | None = None) -> None:
        """Build one shard."""
        work = plan_shard(self.workspace, key, num_workers=1)
        build_shard(self.workspace, self.workspace.paths, work, observe=observe)

    def shards(self) -> dict[str, bytes]:
        """Return the bytes of tars and records, by path."""
        folder = self.workspace.paths.folder
        files = [*folder.rglob("shard-*.tar"), *folder.rglob("shard-*.json")]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(files)}

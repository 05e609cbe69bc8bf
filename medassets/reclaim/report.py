"""Result of a run over the source files of a shard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from medassets.progress import ShardReclaimed, SourceDone
from medassets.reclaim.source_files import SourceFile
from medassets.shards.reclaim_journal import Deletion


@dataclass(frozen=True)
class Kept:
    """A source file that is kept.

    Attributes:
        path: Path inside the source.
        num_bytes: Its size.
        why: One sentence.
        is_trouble: It should have been deleted, and could not be; otherwise it is kept because a
            sample of it is in no shard.
    """

    path: str
    num_bytes: int
    why: str
    is_trouble: bool


@dataclass
class ReclaimReport:
    """Result of a run over the sources of one shard.

    Attributes:
        partition_key: The shard.
        confirmed: Whether the run may delete files; otherwise it only fills `deletable`.
        deletable: Files that would be deleted, by a run that is allowed to.
        deleted: Files that this run deleted.
        already: Files that an earlier run deleted.
        kept: Files that are kept, and why.
        vanished: Files that another program deleted; the shards hold their samples.
        linked: Deleted files that have another name elsewhere, so that nothing was freed.
        problems: What is wrong with the shard; nothing is deleted then.
        is_waiting: A file is kept only until another shard that holds samples of it is whole, too.
    """

    partition_key: str
    confirmed: bool
    deletable: list[SourceFile] = field(default_factory=list)
    deleted: list[Deletion] = field(default_factory=list)
    already: list[Deletion] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    linked: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    is_waiting: bool = False

    @property
    def freed_bytes(self) -> int:
        """Bytes that this run freed."""
        return sum(one.num_bytes for one in self.deleted if one.path not in self.linked)

    @property
    def troubles(self) -> list[str]:
        """What needs the user's attention: first problems of the shard, then files."""
        return [*self.problems, *(f"{k.path}: {k.why}" for k in self.kept if k.is_trouble)]


Observe: TypeAlias = Callable[[SourceDone | ShardReclaimed], None]

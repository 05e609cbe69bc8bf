"""What became of the source files of a shard."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from medassets.progress import ShardReclaimed, SourceDone
from medassets.reclaim.source_files import SourceFile
from medassets.shards.reclaim_journal import Deletion


@dataclass(frozen=True)
class Kept:
    """A source file that stays.

    Attributes:
        path: Path inside the source.
        num_bytes: Its size.
        why: One sentence.
        is_trouble: It should have been deleted, and could not be; otherwise a sample of it is in no
            shard, so it has to stay.
    """

    path: str
    num_bytes: int
    why: str
    is_trouble: bool


@dataclass
class ReclaimReport:
    """What became of the sources of one shard.

    Attributes:
        partition_key: The shard.
        confirmed: Whether files might be deleted; otherwise `deletable` is all that was found out.
        deletable: Files that would be deleted, by a run that is allowed to.
        deleted: Files that this run deleted.
        already: Files that were deleted before.
        kept: Files that stay, and why.
        vanished: Files that are gone and that medassets did not delete; the shards hold their samples.
        linked: Deleted files that have another name elsewhere, so that nothing was freed.
        problems: What is wrong with the shard; nothing is deleted then.
        is_waiting: A file stays only until another shard that holds samples of it is whole, too.
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
        """Bytes that are free since this run deleted files."""
        return sum(one.num_bytes for one in self.deleted if one.path not in self.linked)

    @property
    def troubles(self) -> list[str]:
        """What a person has to look at: first what is wrong with the shard, then files."""
        return [*self.problems, *(f"{k.path}: {k.why}" for k in self.kept if k.is_trouble)]


Observe: TypeAlias = Callable[[SourceDone | ShardReclaimed], None]

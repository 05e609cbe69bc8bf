"""What an export is: a format, the user's options, and the result."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from medassets.exports.journal import Exported
from medassets.exports.target import Target, Written
from medassets.shards.contents import OpenShard
from medassets.shards.record import SampleEntry

Listed = tuple[str, str, Exported]
"""One line of an index: name in the folder, split, what was written."""


class ExportFormat(Protocol):
    """How one sample of a shard becomes files of the target folder."""

    @property
    def name(self) -> str:
        """Name of the format, kept in the journal."""
        ...

    @property
    def stage(self) -> str:
        """Stage whose shards it reads."""
        ...

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the sample that its files' bytes depend on."""
        ...

    @property
    def unasked(self) -> Mapping[str, Mapping[str, Any]]:
        """Option -> other settings that a folder may have been written with.

        Samples of these are not replaced: the user did not choose between them and `settings`.
        """
        ...

    def place(self, number: int, key: str) -> str:
        """Return the name of a sample in the target folder; it never changes.

        Args:
            number: How many samples were named before it.
            key: Sample key.
        """
        ...

    @property
    def file_names(self) -> tuple[str, ...]:
        """Names of the files in a sample's folder; empty where a sample is one file."""
        ...

    @property
    def index_name(self) -> str:
        """Path, in the target folder, of the file that lists all samples."""
        ...

    def estimate_bytes(self, sample: SampleEntry) -> int:
        """Return about how many bytes a sample will take on the disk."""
        ...

    def find_reason_to_skip(self, shard: OpenShard, sample: SampleEntry) -> str | None:
        """Return the code of a reason why a sample is left out, None for one to export."""
        ...

    def write(self, shard: OpenShard, sample: SampleEntry, target: Target) -> Written:
        """Publish a sample's files at its place.

        Called on several threads.

        Raises:
            ShardIntegrityError: If the shard does not hold a sample of this format.
            ForeignFileError: If something else is at the place.
            DiskSpaceError: If the disk is full.
        """
        ...

    def encode_index(self, listed: Iterable[Listed], *, folder: Path | None = None) -> bytes:
        """Return the content of the file that lists all samples.

        Args:
            listed: Its lines.
            folder: Target folder, absolute, for a format that lists whole paths; without one it
                lists names in the folder.
        """
        ...

    def read_index(self, content: bytes) -> set[str]:
        """Return the places that an index names.

        Raises:
            ValueError: If it is not an index of this format.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """What the user asked for.

    Attributes:
        splits: Splits to export; empty takes all. Other splits stay in the index as they are.
        force: Write again samples that are whole.
        num_workers: Threads; 0 chooses a number for this machine.
    """

    splits: tuple[str, ...] = ()
    force: bool = False
    num_workers: int = 0


@dataclass(kw_only=True)
class ExportResult:
    """What an export did.

    Attributes:
        index: The file that lists the samples.
        listed: Split -> samples listed.
        written: Samples written by this run.
        written_bytes: Bytes of those.
        kept: Samples that were already whole and current.
        skipped: Reason -> samples left out.
        absent: Partitions whose shard does not exist yet.
        retired: Samples in the folder that the dataset no longer has; not listed.
        problems: Samples that could not be exported, and why.
    """

    index: Path
    listed: dict[str, int] = field(default_factory=dict)
    written: int = 0
    written_bytes: int = 0
    kept: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    retired: int = 0
    problems: list[str] = field(default_factory=list)

"""The interface of a kind of dataset; everything else is the same for all kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import pyarrow as pa

from medassets.datasets.ct_sources.base import CTSource
from medassets.samples import Encode, SampleKind, SourceItem, Staged
from medassets.shards.made_from import Facts
from medassets.shards.record import ShardRecord
from medassets.sources.base import Source
from medassets.specs import DatasetSpec, FieldRule
from medassets.storage.paths import DatasetPaths

COMMON_FIELDS = FieldRule(
    frozenset(
        {
            *("name", "source", "splits", "samples_per_shard", "max_rejected_share", "runs"),
            *("max_excluded_share", "num_workers", "automation", "catalog_cron"),
        }
    )
)
"""Fields of a declaration that have an effect on every dataset."""


@dataclass(frozen=True)
class Estimate:
    """What one sample is expected to cost, before anything was downloaded.

    Attributes:
        raw_bytes: Bytes of one source file.
        sample_bytes: Bytes of one sample inside a shard.
        seconds: Wall seconds of one sample on one core.
    """

    raw_bytes: int
    sample_bytes: int
    seconds: float


class Files(Protocol):
    """Files of one shard that another stage made."""

    def place(self, items: Sequence[SourceItem]) -> Sequence[SourceItem]:
        """Return the items with their paths in these files."""
        ...

    def stage(self, items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        """Bring the items' files to the local disk; by sample key."""
        ...

    def release(self, items: Sequence[SourceItem]) -> None:
        """Release the items' files."""
        ...


class DatasetKind(Protocol):
    """One declared dataset: its spec and the processing that belongs to its kind.

    Attributes:
        TITLE: What datasets of this kind hold, in the plural.
        SAMPLES: What the samples of its shards are.
        OPTIONS: Options of the command that only some kinds have, and this one does.
        OLDEST_ALIKE: Fields of its facts that leave the meaning of a sample (shape, dtype, units,
            labels) as it is, with the oldest version that does; see `meaning_of`.
    """

    TITLE: ClassVar[str]
    SAMPLES: ClassVar[SampleKind]
    OPTIONS: ClassVar[frozenset[str]]
    OLDEST_ALIKE: ClassVar[Mapping[str, int | None]]

    @property
    def spec(self) -> DatasetSpec:
        """The declaration."""
        ...

    @property
    def stage(self) -> str:
        """Name of the stage whose shards it makes; kinds of one dataset share its catalog."""
        ...

    @property
    def ct_source(self) -> CTSource | None:
        """The source of CT volumes or masks; None for a dataset of videos."""
        ...

    def check(self) -> None:
        """Check the declaration against the source and the processing; opens no file.

        Raises:
            SpecError: Naming the first wrong field.
        """
        ...

    def open_source(self) -> Source:
        """Return the tree of files that the dataset is made of; touches neither network nor disk."""
        ...

    def facts(self) -> Facts:
        """Return everything in the declaration that changes the bytes of a sample, JSON-like."""
        ...

    def fingerprint(self) -> str:
        """Return the hash of the facts."""
        ...

    def plan_settings(self) -> Mapping[str, Any]:
        """Return the settings that decide a sample's split or shard, JSON-like; the first plan keeps them."""
        ...

    def read_rows(
        self,
        source: Source,
        *,
        revision: str | None,
        previous: pa.Table | None,
        settings: Mapping[str, Any],
    ) -> pa.Table:
        """Return one row per source item of all splits, excluded ones among them.

        The table has the generic columns of `medassets.shards.catalog` and the kind's own.

        Args:
            source: Where the tables are.
            revision: Revision to read at.
            previous: The last catalog; what it states about unchanged files is not read again.
            settings: Those of the plan; see `plan_settings`.
        """
        ...

    def judge(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Look at the headers of an item's files before they are read whole.

        Args:
            item: The row.
            paths: Its files on the local disk.

        Raises:
            SampleRejectedError: If the headers already say that they make no sample.
        """
        ...

    def encoder(self) -> Encode:
        """Return the function that turns one checked source file into samples; thread-safe.

        It receives all adjacent items of one file, because a video has many.
        """
        ...

    def is_sample_of(self, item: SourceItem, document: Mapping[str, Any]) -> bool:
        """Return whether a sample was made of a row, of the same file and in the same way.

        Args:
            item: The row.
            document: The sample's json.
        """
        ...

    def open_files(self, paths: DatasetPaths, partition_key: str) -> "Files | None":
        """Return where the files of a shard come from, None when it is the dataset's source.

        Args:
            paths: Where the dataset is stored.
            partition_key: The shard to make.

        Raises:
            CatalogError: If the files do not exist yet.
        """
        ...

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Estimate the cost of one planned row of the catalog."""
        ...

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return the manifest's facts about every sample of a split: shape, dtype, classes."""
        ...

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return what users should know about a catalog beyond its counts; may be empty."""
        ...

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return what users should know about a shard beyond its counts; may be empty.

        `frames`, if there, is also shown as a rate.
        """
        ...

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return a small JPEG of the shard's first sample, None when the shard is empty."""
        ...

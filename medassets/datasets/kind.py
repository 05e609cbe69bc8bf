"""What a kind of dataset must be able to do; everything else is the same for all kinds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from medassets.shards.record import ShardRecord
from medassets.shards.writer import Encode
from medassets.sources.base import Source
from medassets.specs import DatasetSpec


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


class DatasetKind(Protocol):
    """One declared dataset: its spec and the processing that belongs to its kind."""

    @property
    def spec(self) -> DatasetSpec:
        """The declaration."""
        ...

    @property
    def stage(self) -> str:
        """Name of the stage whose shards it makes; kinds of one dataset share its catalog."""
        ...

    def fingerprint(self) -> str:
        """Return the hash of everything in the declaration that changes the bytes of a sample."""
        ...

    def plan_settings(self) -> Mapping[str, Any]:
        """Return what decides a sample's split or place, JSON-like; the first plan keeps it."""
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
            previous: The last catalog; what it knows of unchanged files need not be found again.
            settings: Those of the plan; see `plan_settings`.
        """
        ...

    def encoder(self) -> Encode:
        """Return the function that turns one checked source file into samples; thread-safe.

        It is given all items of the file that stand together in the shard, for a video has many.
        """
        ...

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Guess the cost of one planned row of the catalog."""
        ...

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return what the manifest says of every sample of a split: shape, dtype, classes."""
        ...

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return a small JPEG of the shard's first sample, None when the shard is empty."""
        ...

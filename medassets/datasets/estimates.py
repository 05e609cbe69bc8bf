"""Estimated cost of a plan, from the catalog, before anything is fetched."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from medassets.datasets.kind import DatasetKind, Estimate
from medassets.shards.catalog.plan import STATE_PLANNED
from medassets.shards.fingerprint import FILE_BYTES

_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class PlanEstimate:
    """Cost of one split.

    Attributes:
        num_samples: Planned samples.
        num_shards: Planned shards.
        raw_bytes: Bytes to fetch from the source; of a local one, bytes to read, each file once.
        shard_bytes: Bytes of the finished shards.
        seconds: Wall seconds of preprocessing with every core of this machine.
    """

    num_samples: int
    num_shards: int
    raw_bytes: int
    shard_bytes: int
    seconds: float


def estimate_plan(
    kind: DatasetKind,
    table: pa.Table,
    *,
    without: Collection[str] = (),
    unreadable: Collection[str] = (),
) -> dict[str, PlanEstimate]:
    """Return the cost of every split of a catalog.

    Args:
        kind: The declared dataset.
        table: The catalog; see `medassets.shards.catalog`.
        without: Shards that are left out, because they are made already.
        unreadable: Keys of samples that cost nothing and are not counted, because their files cannot be
            read; their shards are.
    """
    # A split that is declared no more keeps its place in the plan.
    sums = {split: _Sum() for split in kind.spec.splits}
    # A million rows as Python objects would take gigabytes.
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        for row in table.slice(start, _ROWS_AT_ONCE).to_pylist():
            if row["state"] != STATE_PLANNED or row["partition"] in without:
                continue
            total = sums.setdefault(row["split"], _Sum())
            total.partitions.add(row["partition"])
            if row["key"] not in unreadable:
                total.add(row, kind.estimate(row))
    return {split: total.as_estimate() for split, total in sums.items()}


@dataclass
class _Sum:
    """The cost of rows, one by one."""

    num_samples: int = 0
    partitions: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)
    raw_bytes: int = 0
    shard_bytes: int = 0
    seconds: float = 0.0

    def add(self, row: Mapping[str, Any], cost: Estimate) -> None:
        self.num_samples += 1
        self.raw_bytes += self._count_raw(row, cost)
        self.shard_bytes += cost.sample_bytes
        self.seconds += cost.seconds

    def _count_raw(self, row: Mapping[str, Any], cost: Estimate) -> int:
        """Return the bytes of the file of a row: as the disk or the source states them, else estimated."""
        on_disk = row.get("num_bytes")
        if on_disk is None:
            return row.get(FILE_BYTES) or cost.raw_bytes
        if row["path"] in self.paths:
            return 0
        self.paths.add(row["path"])
        return on_disk

    def as_estimate(self) -> PlanEstimate:
        return PlanEstimate(
            num_samples=self.num_samples,
            num_shards=len(self.partitions),
            raw_bytes=self.raw_bytes,
            shard_bytes=self.shard_bytes,
            seconds=self.seconds / (os.cpu_count() or 1),
        )

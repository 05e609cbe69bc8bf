"""What a plan will cost, guessed from the catalog before anything is fetched."""

import os
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from medassets.datasets.kind import DatasetKind
from medassets.shards.catalog import STATE_PLANNED


@dataclass(frozen=True)
class PlanEstimate:
    """Cost of one split.

    Attributes:
        num_samples: Planned samples.
        num_shards: Planned shards.
        raw_bytes: Bytes to fetch from the source.
        shard_bytes: Bytes of the finished shards.
        seconds: Wall seconds of preprocessing with every core of this machine.
    """

    num_samples: int
    num_shards: int
    raw_bytes: int
    shard_bytes: int
    seconds: float


def estimate_plan(kind: DatasetKind, table: pa.Table) -> dict[str, PlanEstimate]:
    """Return the cost of every split of a catalog, made or not.

    Args:
        kind: The declared dataset.
        table: The catalog; see `medassets.shards.catalog`.
    """
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in kind.spec.splits}
    for row in table.to_pylist():
        if row["state"] == STATE_PLANNED:
            # A split that is declared no more keeps its place in the plan.
            rows.setdefault(row["split"], []).append(row)
    return {split: _estimate(kind, planned) for split, planned in rows.items()}


def _estimate(kind: DatasetKind, rows: list[dict[str, Any]]) -> PlanEstimate:
    costs = [kind.estimate(row) for row in rows]
    return PlanEstimate(
        num_samples=len(rows),
        num_shards=len({row["partition"] for row in rows}),
        raw_bytes=sum(cost.raw_bytes for cost in costs),
        shard_bytes=sum(cost.sample_bytes for cost in costs),
        seconds=sum(cost.seconds for cost in costs) / (os.cpu_count() or 1),
    )

"""What a plan will cost, guessed from the catalog before anything is fetched."""

import os
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

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
    planned = table.filter(pc.equal(table["state"], STATE_PLANNED))
    cores = os.cpu_count() or 1
    found: dict[str, PlanEstimate] = {}
    for split in kind.spec.splits:
        rows = planned.filter(pc.equal(planned["split"], split))
        costs = [kind.estimate(row) for row in rows.to_pylist()]
        found[split] = PlanEstimate(
            num_samples=rows.num_rows,
            num_shards=pc.count_distinct(rows["partition"]).as_py(),
            raw_bytes=sum(cost.raw_bytes for cost in costs),
            shard_bytes=sum(cost.sample_bytes for cost in costs),
            seconds=sum(cost.seconds for cost in costs) / cores,
        )
    return found

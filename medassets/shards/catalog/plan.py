"""The plan: which rows of a catalog are in which shard, in the metadata of its table."""

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError
from medassets.storage.checksums import canonical_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.later_versions import take_fields
from medassets.storage.paths import split_partition_key

STATE_PLANNED = "planned"
STATE_HELD = "held"
STATE_EXCLUDED = "excluded"

PLAN_KEY = b"medassets.plan"


@dataclass(frozen=True)
class CatalogPlan:
    """The plan in a catalog.

    Attributes:
        samples_per_shard: Samples of a full shard.
        partitions: Partition key -> number of samples, splits in the order of the source, shards
            by number.
        digests: Partition key -> hash of its rows' content.
        num_rows: All rows.
        num_held: Rows that a refresh without limit would plan.
        excluded: Split -> reason -> number of rows.
        version: Digest of all rows; unchanged if no row changed.
        notes: Digest of everything else that people read: positions of rows in tables, reasons
            for exclusion, and figures of the source's tables.
    """

    samples_per_shard: int
    partitions: dict[str, int]
    digests: dict[str, str] = field(repr=False)
    num_rows: int
    num_held: int
    excluded: dict[str, dict[str, int]]
    version: str
    notes: str = ""

    @property
    def num_planned(self) -> int:
        """Rows that have a shard; they come first in the catalog."""
        return sum(self.partitions.values())

    @cached_property
    def starts(self) -> dict[str, int]:
        """Number of the first row of each partition."""
        ends = itertools.accumulate(self.partitions.values())
        return {
            key: end - count
            for (key, count), end in zip(self.partitions.items(), ends, strict=True)
        }

    def excluded_by_reason(self) -> dict[str, int]:
        """Return the number of excluded rows of all splits, by reason."""
        total: dict[str, int] = {}
        for reasons in self.excluded.values():
            for reason, count in reasons.items():
                total[reason] = total.get(reason, 0) + count
        return dict(sorted(total.items()))

    def splits(self) -> dict[str, list[str]]:
        """Return the partition keys of each split, in order."""
        found: dict[str, list[str]] = {}
        for key in self.partitions:
            found.setdefault(split_partition_key(key)[0], []).append(key)
        return found


def plan_of(catalog: pa.Table) -> "CatalogPlan":
    """Return the plan of a catalog from the table's metadata."""
    return parse_plan(catalog.schema.metadata, "catalog")


def store_plan(table: pa.Table, plan: CatalogPlan) -> pa.Table:
    """Return the table with the plan in its metadata."""
    metadata = {**(table.schema.metadata or {}), PLAN_KEY: canonical_json(_as_document(plan))}
    return table.replace_schema_metadata(metadata)


def _as_document(plan: CatalogPlan) -> dict[str, Any]:
    # Lists, because canonical JSON sorts the keys of objects, and the order is part of the plan.
    shards = [[key, count, plan.digests[key]] for key, count in plan.partitions.items()]
    return {
        "samples_per_shard": plan.samples_per_shard,
        "shards": shards,
        "num_rows": plan.num_rows,
        "num_held": plan.num_held,
        "excluded": plan.excluded,
        "version": plan.version,
        "notes": plan.notes,
    }


def parse_plan(metadata: Mapping[bytes, bytes] | None, where: str) -> CatalogPlan:
    """Return the plan in the metadata of a catalog.

    Raises:
        CatalogError: If there is none, or it cannot be read.
        LaterVersionError: If a later version wrote it.
    """
    if metadata is None or PLAN_KEY not in metadata:
        msg = (
            f"{where}: has no plan; it was not written by medassets. Move it away, then "
            f"`medassets reconcile` restores the plan"
        )
        raise CatalogError(msg)
    try:
        document = json.loads(metadata[PLAN_KEY])
        shards = document.pop("shards")
        partitions = {key: count for key, count, _ in shards}
        digests = {key: digest for key, _, digest in shards}
        named = {**document, "partitions": partitions, "digests": digests}
        return take_fields(CatalogPlan, named, where)
    except MALFORMED as error:
        msg = f"{where}: its plan cannot be read ({error}); `medassets reconcile` restores it"
        raise CatalogError(msg) from error

"""Why a shard is stale: which fields and rows changed, and whether its samples still mean the same."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import pyarrow as pa

from medassets.datasets.accounts import Books
from medassets.datasets.build import today_fingerprint
from medassets.datasets.workspace import Workspace
from medassets.errors import DamagedTarError, ShardIntegrityError
from medassets.samples import SourceItem
from medassets.shards.catalog.files import take_partition
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.fingerprint import FORMAT_VERSION, was_made_of
from medassets.shards.made_from import (
    Change,
    Facts,
    compare_facts,
    compare_rows,
    facts_fingerprint,
    meaning_of,
)
from medassets.shards.plan_copy import read_plan_copy
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import parse_json
from medassets.tars.reader import OpenTar, open_tar

NO_FACTS = "made before facts were recorded"
_NOT_ITS_FACTS = "the facts in its record do not have its fingerprint"
_ROWS_CHANGED = "rows of it changed"
_MOST_COMPARED = 8
# Reading the rows of a shard takes milliseconds; a dataset may have 10,000 shards.
_MOST_WITH_ROWS = 100
_MOST_LINES = 3
_MOST_REASONS = 10


@dataclass(frozen=True)
class Staleness:
    """Why one shard is stale.

    Attributes:
        changes: What changed, fields of the declaration first.
        is_alike: Whether its samples have the same shape, dtype, units and settings as today's, so
            that a training job may read both.
    """

    changes: tuple[Change, ...]
    is_alike: bool

    def lines(self) -> list[str]:
        """Return the first changes, one in a line, and how many more there are."""
        more = len(self.changes) - _MOST_LINES
        shown = [change.describe() for change in self.changes[:_MOST_LINES]]
        return shown + ([f"and {more:,} more changes"] if more > 0 else [])


@dataclass(frozen=True)
class Today:
    """What shards would be made from today.

    Attributes:
        workspace: The dataset and stage.
        plan: Its plan.
        catalog: A draft, in place of the catalog on disk.
    """

    workspace: Workspace
    plan: CatalogPlan
    catalog: pa.Table | None = None

    @cached_property
    def facts(self) -> Facts:
        """Facts of the declaration."""
        return self.workspace.kind.facts()

    @cached_property
    def meaning(self) -> str:
        """What samples made today mean; see `meaning_of`."""
        return self._meaning_of(self.facts)

    def _meaning_of(self, facts: Facts) -> str:
        return meaning_of(facts, self.workspace.kind.OLDEST_ALIKE)

    def is_current(self, record: ShardRecord) -> bool:
        """Return whether a shard was made from today's inputs and settings."""
        today = today_fingerprint(self.workspace, self.plan, record.partition)
        return record.plan_fingerprint == today

    def explain_each(self, records: Iterable[ShardRecord]) -> dict[str, Staleness]:
        """Return why shards are stale, by partition key; of many, only the first name their rows."""
        return {
            record.partition: self.explain(record, with_rows=number < _MOST_WITH_ROWS)
            for number, record in enumerate(records)
        }

    def explain(self, record: ShardRecord, *, with_rows: bool = True) -> Staleness:
        """Return why a shard is stale.

        Args:
            record: Its record; the tar is on disk with the recorded size.
            with_rows: Name the rows that changed, which are read for that.
        """
        made = record.facts
        if made is None:
            return self._explain_without_facts(record)
        if made.plan_fingerprint != record.plan_fingerprint:
            return Staleness((Change(what=_NOT_ITS_FACTS),), is_alike=False)
        changes = compare_facts(made.spec, self.facts)
        has_other_rows = made.rows_digest != self.plan.digests[record.partition]
        if has_other_rows and not with_rows:
            changes.append(Change(what=_ROWS_CHANGED))
        elif has_other_rows:
            changes += self._compare_rows(record)
        return Staleness(tuple(changes), self._meaning_of(made.spec) == self.meaning)

    def _compare_rows(self, record: ShardRecord) -> list[Change]:
        """Compare today's rows with those in the record's copy of the plan."""
        try:
            copy = read_plan_copy(record.plan, record.filename)
        except ShardIntegrityError:
            copy = None
        if copy is None:
            return [Change(what=_ROWS_CHANGED)]
        return compare_rows(copy.rows, (item.row for item in self._rows(record)))

    def _rows(self, record: ShardRecord) -> list[SourceItem]:
        if self.catalog is not None:
            return take_partition(self.catalog, self.plan, record.partition)
        return self.workspace.read_partition(record.partition)

    def _explain_without_facts(self, record: ShardRecord) -> Staleness:
        """Compare the json of samples with today's rows: it has the fingerprint of both."""
        rows = {item.key: item for item in self._rows(record)}
        samples = [entry for entry in record.samples if entry.key in rows][:_MOST_COMPARED]
        for version in range(FORMAT_VERSION, 0, -1):
            facts = {**self.facts, "format_version": version}
            if self._was_made_by(record, samples, rows, facts_fingerprint(facts)):
                changes = compare_facts(facts, self.facts)
                changes.append(Change(what=f"{NO_FACTS}; its settings are known by its samples"))
                return Staleness(tuple(changes), is_alike=True)
        return Staleness((Change(what=f"{NO_FACTS}; build it again"),), is_alike=False)

    def _was_made_by(
        self,
        record: ShardRecord,
        samples: Sequence[SampleEntry],
        rows: Mapping[str, SourceItem],
        known_by: str,
    ) -> bool:
        try:
            with open_tar(self.workspace.paths.shard(record.partition)) as tar:
                return any(
                    was_made_of(known_by, rows[entry.key], read_json(tar, entry))
                    for entry in samples
                )
        except (DamagedTarError, OSError):
            return False


def read_json(tar: OpenTar, entry: SampleEntry) -> Mapping[str, object]:
    """Return the json of a sample; empty if it has none that can be read."""
    members = [member for member in entry.members if member.suffix == "json"]
    try:
        document = parse_json(tar.read(members[0])) if members else {}
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def summarize(found: Mapping[str, Staleness]) -> Iterator[str]:
    """Yield the reasons of stale shards, those that several share in one line.

    Args:
        found: Partition key -> why it is stale.
    """
    shared: dict[str, list[str]] = {}
    for key, one in found.items():
        shared.setdefault(_describe_common(one), []).append(key)
    ordered = sorted(shared.items(), key=lambda entry: -len(entry[1]))
    for what, keys in ordered[:_MOST_REASONS]:
        yield f"{what} ({_name_some(keys)})"
    if len(ordered) > _MOST_REASONS:
        yield f"{len(ordered) - _MOST_REASONS:,} other reasons (--json lists all)"


def _describe_common(one: Staleness) -> str:
    """Return the changes of the declaration, which shards share; else those of its rows."""
    of_spec = [change.describe() for change in one.changes if not change.key]
    return "; ".join(of_spec[:_MOST_LINES] or one.lines())


def _name_some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - _MOST_LINES:,} more" if len(keys) > _MOST_LINES else ""
    return ", ".join(keys[:_MOST_LINES]) + more


def explain_stale(
    workspace: Workspace, books: Books, keys: Iterable[str], catalog: pa.Table | None = None
) -> dict[str, Staleness]:
    """Return why shards are stale; those that are not whole on disk are left out.

    Args:
        workspace: The dataset and stage.
        books: Its shards as they are on disk.
        keys: Partition keys.
        catalog: A draft, in place of the catalog on disk.
    """
    today, shards = Today(workspace, books.plan, catalog), books.shards
    older = {key: shards[key].older for key in keys if key in shards}
    return today.explain_each(record for record in older.values() if record is not None)

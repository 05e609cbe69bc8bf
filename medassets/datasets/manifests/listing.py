"""Which shards the manifests list: today's, and older ones that a training job may read beside them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from medassets.datasets.accounts import Books
from medassets.datasets.staleness.reasons import Staleness, Today
from medassets.shards.record import ShardRecord
from medassets.storage.paths import split_partition_key
from medassets.volumes.catalog.webdataset_fields import LABEL_SUFFIXES

LabelForm = tuple[str, ...] | int


@dataclass(frozen=True)
class Listing:
    """The shards on disk that can be listed together.

    Attributes:
        listed: Partition key -> record of the shard that is listed, in the order of the plan.
        stale: Partition key -> why it is stale, of those listed that are.
        unlike: Partition key -> why it is stale, of older shards that do not fit today's.
        repeated: Partition key -> sample that a listed shard has as well, of older shards that are not
            listed for it.
        meaning: What samples made today mean; see `meaning_of`.
    """

    listed: Mapping[str, ShardRecord]
    stale: Mapping[str, Staleness]
    unlike: Mapping[str, Staleness]
    repeated: Mapping[str, str]
    meaning: str

    def records(self, split: str = "") -> list[ShardRecord]:
        """Return the records of listed shards, of one split or all, in order."""
        return [r for key, r in self.listed.items() if split in ("", split_partition_key(key)[0])]


def list_shards(today: Today, books: Books) -> Listing:
    """Return which shards are listed: today's, and in place of those to be made the older ones.

    An older shard is listed if its samples mean the same as today's: other limits, format versions
    and rows leave it in the list, another shape or unit does not. No sample is listed twice: an older
    shard with a sample of another listed shard is left out.

    Args:
        today: What shards would be made from today.
        books: The shards on disk.
    """
    older = {key: found.older for key, found in books.shards.items() if found.older is not None}
    reasons = today.explain_each(older.values())
    # The samples of all shards are looked at only where there are older shards to compare.
    forms = _list_forms(books.records() if older else [])
    alike = {
        key
        for key, why in reasons.items()
        if why.is_alike and _fits(_list_forms([older[key]]), forms)
    }
    repeated = _find_repeated(books.records() if alike else [], {key: older[key] for key in alike})
    chosen = {
        key: found.record or (older[key] if key in alike - repeated.keys() else None)
        for key, found in books.shards.items()
    }
    return Listing(
        listed={key: record for key, record in chosen.items() if record is not None},
        stale={key: why for key, why in reasons.items() if key in alike - repeated.keys()},
        unlike={key: why for key, why in reasons.items() if key not in alike},
        repeated=repeated,
        meaning=today.meaning,
    )


def _find_repeated(
    records: Iterable[ShardRecord], older: Mapping[str, ShardRecord]
) -> dict[str, str]:
    """Return which older shards have a sample of today's, or of an older one before them."""
    taken = {sample.key for record in records for sample in record.samples}
    found: dict[str, str] = {}
    for key, record in older.items():
        own = [sample.key for sample in record.samples]
        if (again := next((name for name in own if name in taken), None)) is not None:
            found[key] = again
        else:
            taken.update(own)
    return found


def _list_forms(records: Iterable[ShardRecord]) -> set[LabelForm]:
    """Return the names of labels and the sizes of their members; a table may have got more columns."""
    forms: set[LabelForm] = set()
    for sample in (sample for record in records for sample in record.samples):
        forms |= {member.size_bytes for member in sample.members if member.suffix in LABEL_SUFFIXES}
        if names := sample.facts.get("label_names"):
            forms.add(tuple(names))
    return forms


def _fits(forms: set[LabelForm], current: set[LabelForm]) -> bool:
    """Return whether labels are like those of today's shards; each sort is compared if both state it."""
    for sort in (tuple, int):
        own, others = (
            {form for form in side if isinstance(form, sort)} for side in (forms, current)
        )
        if own and others and not own <= others:
            return False
    return True

"""Hashes that say "same inputs, same code"."""

from collections.abc import Iterable

from medassets.samples import SourceItem
from medassets.storage.checksums import fingerprint

FORMAT_VERSION = 1
"""Version of the shard's bytes; it is part of every fingerprint."""

_PLACE_COLUMNS = frozenset(("partition", "state"))
_STAT_COLUMNS = frozenset(("num_bytes", "mtime_ns"))


def rows_fingerprint(items: Iterable[SourceItem]) -> str:
    """Return the hash of catalog rows: their content, not their place in the plan."""
    return fingerprint(
        [{k: v for k, v in item.row.items() if k not in _PLACE_COLUMNS} for item in items]
    )


def content_fingerprint(item: SourceItem) -> str:
    """Return the hash of one row's content without size and mtime: the same on every machine."""
    left_out = _PLACE_COLUMNS | _STAT_COLUMNS
    return fingerprint({k: v for k, v in item.row.items() if k not in left_out})


def plan_fingerprint(spec_fingerprint: str, rows_digest: str) -> str:
    """Return the hash of everything that decides the bytes of a shard, known before it is made.

    Args:
        spec_fingerprint: Hash of the declaration, from the kind of dataset.
        rows_digest: Hash of the shard's rows, from `rows_fingerprint` or the plan.
    """
    return fingerprint({"format": FORMAT_VERSION, "spec": spec_fingerprint, "rows": rows_digest})

"""Hashes that say "same inputs, same code"."""

from collections.abc import Iterable, Mapping
from typing import Any

from medassets.samples import SourceItem
from medassets.storage.checksums import fingerprint

FORMAT_VERSION = 1
"""Version of the shard's bytes; it is part of every fingerprint."""

FILE_BYTES, FILE_DIGEST = "file_bytes", "file_digest"
"""Columns with size and digest of a remote file as its source stated them for the plan."""

NOTE_COLUMNS = frozenset(("row", "matched_by", "stored_labels", FILE_BYTES, FILE_DIGEST))
"""Columns that tell the origin of a catalog row; they do not affect the shard's bytes.

One row inserted into a table changes the numbers of all later rows. What a member of a source holds
is part of the digest of its source file; digests of remote files follow from the revision, which is
part of the row.
"""

LATER_COLUMNS = frozenset(("label_type",))
"""Columns that older catalogs lack; they are left out where they are null, so that a row that says
nothing new keeps its fingerprint."""

_PLACE_COLUMNS = frozenset(("partition", "state"))
_STAT_COLUMNS = frozenset(("num_bytes", "mtime_ns"))
_ROWS_LEAVE_OUT = _PLACE_COLUMNS | NOTE_COLUMNS


def rows_fingerprint(items: Iterable[SourceItem]) -> str:
    """Return the hash of catalog rows: their content, not their position in plan and source."""
    return digest_rows(item.row for item in items)


def digest_rows(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the hash of rows as they are in the catalog; see `rows_fingerprint`."""
    return fingerprint([_take_content(row, _ROWS_LEAVE_OUT) for row in rows])


def take_content(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a row that `rows_fingerprint` covers."""
    return _take_content(row, _ROWS_LEAVE_OUT)


def content_fingerprint(item: SourceItem) -> str:
    """Return the hash of one row's content without size and mtime: equal on every machine."""
    left_out = _PLACE_COLUMNS | _STAT_COLUMNS | NOTE_COLUMNS
    return fingerprint(_take_content(item.row, left_out))


def plan_fingerprint(
    spec_fingerprint: str, rows_digest: str, *, format_version: int | None = None
) -> str:
    """Return the hash of everything that determines the bytes of a shard, before it is built.

    Args:
        spec_fingerprint: Hash of the declaration, from the kind of dataset.
        rows_digest: Hash of the shard's rows, from `rows_fingerprint` or the plan.
        format_version: Version of the shard's bytes; None means today's.
    """
    version = FORMAT_VERSION if format_version is None else format_version
    return fingerprint({"format": version, "spec": spec_fingerprint, "rows": rows_digest})


def sample_fingerprint(spec_fingerprint: str, item: SourceItem, sha256: str | None) -> str:
    """Return the hash that says "same source bytes, same table row, same processing".

    Args:
        spec_fingerprint: Hash of the declaration, from the kind of dataset.
        item: Catalog row of the sample.
        sha256: Digest of its source file; None if it is unknown.
    """
    row = content_fingerprint(item)
    return fingerprint({"spec": spec_fingerprint, "sha256": sha256, "row": row})


def was_made_of(spec_fingerprint: str, item: SourceItem, document: Mapping[str, Any]) -> bool:
    """Return whether a sample was made of a row, of the same file and in the same way.

    Args:
        spec_fingerprint: Hash of the declaration, from the kind of dataset.
        item: Catalog row of the sample.
        document: Its json.
    """
    sha256 = document.get("source", {}).get("sha256")
    return sample_fingerprint(spec_fingerprint, item, sha256) == document.get("fingerprint")


def _take_content(row: Mapping[str, Any], left_out: frozenset[str]) -> dict[str, Any]:
    empty = {name for name in LATER_COLUMNS if row.get(name) is None}
    return {k: v for k, v in row.items() if k not in left_out and k not in empty}

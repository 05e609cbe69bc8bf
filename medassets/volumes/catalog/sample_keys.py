"""Names of studies as sample keys."""

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.errors import Reason
from medassets.storage.checksums import canonical_json, fingerprint

_LONGEST = 90
_HASH_DIGITS = 16
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST}}}", re.ASCII)


def make_sample_key(name: str) -> str:
    """Return a name as a sample key; it depends on the name only, so that a plan can grow.

    A valid key is returned unchanged. Otherwise invalid characters are replaced and a hash of the
    whole name is appended, so that two names never make one key.

    Args:
        name: Name of a study; anything.
    """
    return name if _PLAIN.fullmatch(name) else make_distinct_key(name, of=name)


def make_distinct_key(name: str, *, of: str) -> str:
    """Return a sample key that begins like a name and ends with a hash.

    Args:
        name: How it begins.
        of: What is hashed.
    """
    cleaned = re.sub(r"[^A-Za-z0-9_-]", "_", name)[: _LONGEST - _HASH_DIGITS - 1]
    return f"{cleaned}-{fingerprint(of)[:_HASH_DIGITS]}"


def read_planned(previous: pa.Table | None) -> dict[str, str]:
    """Return key -> path of the samples that can be in a shard of the last catalog."""
    if previous is None:
        return {}
    columns = (previous[name].to_pylist() for name in ("key", "path", "excluded"))
    return {key: path for key, path, excluded in zip(*columns, strict=True) if excluded is None}


def exclude_repeats(rows: list[dict[str, Any]], planned: Mapping[str, str]) -> None:
    """Let one row of each study keep the key, and exclude the others.

    Args:
        rows: Rows of a new catalog; changed in place.
        planned: Key -> path of the row that had it before; see `read_planned`.
    """
    chosen: dict[str, dict[str, Any]] = {}

    def rank(row: Mapping[str, Any]) -> tuple[bool, bool]:
        return row.get("excluded") is not None, planned.get(row["key"]) != row.get("path")

    for row in sorted(rows, key=rank):
        first = chosen.setdefault(row["key"], row)
        if first is row:
            continue
        if row.get("excluded") is None:
            row["excluded"] = str(Reason.DUPLICATE_ROW)
            row["detail"] = f"{row['path']}: {row['study_id']} is already in {first['path']}"
        of = [row.get("split"), row.get("path"), row.get("detail")]
        row["key"] = make_distinct_key(f"{row['key'][:60]}-dup", of=canonical_json(of).decode())

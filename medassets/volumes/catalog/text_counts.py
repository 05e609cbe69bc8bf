"""How many samples of a catalog have a report and labels, where not all must have both."""

import json
from collections.abc import Mapping

import pyarrow as pa

from medassets.storage.arrow import kernels

TEXTS_KEY = b"medassets.texts"
"""Key of the schema metadata that holds the counts."""


def store_text_counts(table: pa.Table) -> pa.Table:
    """Return a catalog that states how many of its usable rows have a report, and any label."""
    usable = table.filter(kernels.is_null(table["excluded"]))
    counts = {
        "samples": usable.num_rows,
        "report": sum(_has(usable, name) for name in ("report", "text_member")),
        "labels": _count_labelled(usable),
    }
    metadata = {**(table.schema.metadata or {}), TEXTS_KEY: json.dumps(counts).encode()}
    return table.replace_schema_metadata(metadata)


def read_text_counts(table: pa.Table) -> Mapping[str, int]:
    """Return what a catalog states of its texts; empty if it states nothing.

    Args:
        table: The catalog; its metadata are enough.
    """
    return json.loads((table.schema.metadata or {}).get(TEXTS_KEY, b"{}"))


def _has(rows: pa.Table, name: str) -> int:
    return rows.num_rows - rows[name].null_count if name in rows.column_names else 0


def _count_labelled(rows: pa.Table) -> int:
    if "stored_labels" in rows.column_names:
        return _has(rows, "stored_labels")
    labels = rows["labels"].to_pylist()
    return sum(any(value is not None for value in one or ()) for one in labels)

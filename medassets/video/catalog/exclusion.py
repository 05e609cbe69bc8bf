"""Exclude rows of a table that is being made, each for the first reason that is found."""

from collections.abc import Sequence
from typing import TypeAlias

import pyarrow as pa

from medassets.storage.arrow import kernels

Column: TypeAlias = pa.Array | pa.ChunkedArray
Columns: TypeAlias = dict[str, Column]
"""Columns of equal length by name; `row`, `excluded` and `detail` are among them."""


def exclude(
    columns: Columns, where: Column, *, reason: str | Column, sentence: Sequence[str | Column]
) -> None:
    """Exclude rows that are not excluded yet.

    Args:
        columns: `excluded` and `detail` are replaced.
        where: Rows that are meant, bool; null keeps a row.
        reason: Why.
        sentence: What a person should know, in parts that are joined; numbers may be among them.
            The number of the row is put before it.
    """
    is_open = kernels.is_null(columns["excluded"])
    chosen = one_chunk(kernels.and_(kernels.fill_null(where, False), is_open))
    if not kernels.any(chosen).as_py():
        return
    # Only of rows that are meant: sentences of a million rows are 100 MB.
    parts = ["metadata row ", columns["row"], ": ", *sentence]
    details = kernels.binary_join_element_wise(*(_as_text(p, chosen) for p in parts), "")
    reasons = reason if isinstance(reason, str) else kernels.filter(reason, chosen)
    for name, values in (("excluded", reasons), ("detail", details)):
        given = pa.repeat(values, len(details)) if isinstance(values, str) else one_chunk(values)
        columns[name] = kernels.replace_with_mask(one_chunk(columns[name]), chosen, given)


def _as_text(part: str | Column, chosen: Column) -> str | Column:
    if isinstance(part, str):
        return part
    return kernels.cast(kernels.filter(part, chosen), pa.string())


def one_chunk(column: Column) -> pa.Array:
    """Return a column as one array; it is copied where it is in pieces."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

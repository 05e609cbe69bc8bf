"""Exclude rows of a table that is being made, each for the first reason that is found."""

from typing import TypeAlias

import pyarrow as pa

from medassets.storage.arrow import kernels

Column: TypeAlias = pa.Array | pa.ChunkedArray
Columns: TypeAlias = dict[str, Column]
"""Columns of equal length by name; `row`, `excluded` and `detail` are among them."""


def exclude(columns: Columns, where: Column, *, reason: str | Column, sentence: Column) -> None:
    """Exclude rows that are not excluded yet.

    Args:
        columns: `excluded` and `detail` are replaced.
        where: Rows that are meant, bool; null keeps a row.
        reason: Why.
        sentence: What a person should know; the number of the row is put before it.
    """
    numbers = kernels.cast(columns["row"], pa.string())
    details = kernels.binary_join_element_wise("metadata row ", numbers, ": ", sentence, "")
    chosen = kernels.and_(kernels.fill_null(where, False), kernels.is_null(columns["excluded"]))
    columns["excluded"] = kernels.if_else(chosen, reason, columns["excluded"])
    columns["detail"] = kernels.if_else(chosen, details, columns["detail"])

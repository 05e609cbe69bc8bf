"""Columns of the catalog of clips while it is built, and the exclusion of rows from it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import pyarrow as pa

from medassets.storage.arrow import kernels

Column: TypeAlias = pa.Array | pa.ChunkedArray
"""One column, in one piece or several."""

_STRING, _INT, _FLOAT = pa.string(), pa.int64(), pa.float64()

RECORD_SCHEMA = pa.schema(
    [
        ("row", _INT),
        ("vid", _STRING),
        ("clip_path", _STRING),
        ("begin_ms", _INT),
        ("end_ms", _INT),
        ("transcript", _STRING),
        ("size", pa.list_(_FLOAT)),
        ("excluded", _STRING),
        ("detail", _STRING),
    ]
)
"""Columns of `read_metadata` and `read_pairs`; null is what a record does not state correctly."""

FACT_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("codec", _STRING),
    ("width", _INT),
    ("height", _INT),
    ("duration_ms", _INT),
    ("rotation", _INT),
    ("fps", _FLOAT),
)
"""Facts of a video that the catalog keeps."""

FILE_COLUMNS: tuple[tuple[str, pa.DataType], ...] = (
    ("matched_by", _STRING),
    ("num_bytes", _INT),
    ("mtime_ns", _INT),
    *FACT_COLUMNS,
)
"""What the catalog keeps of the file of a clip, beside its path."""

VIDEO_ROW_SCHEMA = pa.schema(
    [
        *((name, _STRING) for name in ("key", "split", "path", "revision", "excluded", "detail")),
        ("num_bytes", _INT),
        ("mtime_ns", _INT),
        ("vid", _STRING),
        *((name, _INT) for name in ("begin_ms", "end_ms", "from_ms", "to_ms")),
        ("transcript", _STRING),
        ("size", pa.list_(_FLOAT)),
        ("row", _INT),
        ("matched_by", _STRING),
        *FACT_COLUMNS,
    ]
)
"""Columns of `read_video_rows`; begin and end as declared, from and to inside the file."""


@dataclass
class ClipColumns:
    """Columns of equal length; `ClipRow` and the schemas say what they hold.

    Those of `RECORD_SCHEMA` are given, the others are added step by step.
    """

    row: Column
    vid: Column
    clip_path: Column
    begin_ms: Column
    end_ms: Column
    transcript: Column
    size: Column
    excluded: Column
    detail: Column
    key: Column = field(init=False)
    split: Column = field(init=False)
    path: Column = field(init=False)
    revision: Column = field(init=False)
    from_ms: Column = field(init=False)
    to_ms: Column = field(init=False)
    duration_ms: Column = field(init=False)

    def pop(self, name: str) -> Column:
        """Return a column of `VIDEO_ROW_SCHEMA` and remove it: texts are large."""
        column: Column = getattr(self, name)
        delattr(self, name)
        return column


def exclude(
    columns: ClipColumns, where: Column, *, reason: str | Column, sentence: Sequence[str | Column]
) -> None:
    """Exclude rows that are not excluded yet; the first reason counts.

    Args:
        columns: `excluded` and `detail` are replaced.
        where: Rows to exclude, bool; null keeps a row.
        reason: Reason code.
        sentence: Explanation, in parts that are joined; numbers are allowed. The number of the row
            is put before it.
    """
    is_open = kernels.is_null(columns.excluded)
    chosen = one_chunk(kernels.and_(kernels.fill_null(where, False), is_open))
    if not kernels.any(chosen).as_py():
        return
    # For excluded rows only: sentences of a million rows are 100 MB.
    parts = ["metadata row ", columns.row, ": ", *sentence]
    details = kernels.binary_join_element_wise(*(_as_text(p, chosen) for p in parts), "")
    reasons = reason if isinstance(reason, str) else kernels.filter(reason, chosen)
    if isinstance(reasons, str):
        reasons = pa.repeat(reasons, len(details))
    columns.excluded = _replace(columns.excluded, chosen, reasons)
    columns.detail = _replace(columns.detail, chosen, details)


def _replace(column: Column, chosen: Column, values: Column) -> Column:
    return kernels.replace_with_mask(one_chunk(column), chosen, one_chunk(values))


def _as_text(part: str | Column, chosen: Column) -> str | Column:
    if isinstance(part, str):
        return part
    return kernels.cast(kernels.filter(part, chosen), pa.string())


def one_chunk(column: Column) -> pa.Array:
    """Return a column as one array; copied if it is in several pieces."""
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column

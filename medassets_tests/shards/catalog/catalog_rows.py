"""Rows of small catalogs, and where a plan puts them."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa


def make_rows(
    keys: Sequence[str],
    *,
    excluded: Sequence[str] = (),
    split: str = "train",
    revision: str | None = "one",
    **columns: Any,
) -> pa.Table:
    """Return rows as a source gives them.

    Args:
        keys: Their keys.
        excluded: Keys of those that cannot become samples.
        split: Split of all.
        revision: Revision of all.
        columns: More columns, or others instead.
    """
    count = len(keys)
    return pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "split": pa.array([split] * count, pa.string()),
            "path": pa.array([f"data/{key}.raw" for key in keys], pa.string()),
            "revision": pa.array([revision] * count, pa.string()),
            "excluded": pa.array(
                ["no_chest" if key in excluded else None for key in keys], pa.string()
            ),
            "detail": pa.nulls(count, pa.string()),
            **columns,
        },
        metadata={"label_names": '["a"]'},
    )


def read_places(catalog: pa.Table) -> dict[str, str]:
    """Return the partition of each planned key."""
    columns = zip(catalog["key"].to_pylist(), catalog["partition"].to_pylist(), strict=True)
    return {key: partition for key, partition in columns if partition is not None}


def make_keys(count: int, start: int = 0) -> list[str]:
    """Return sorted keys."""
    return [f"k{i:06d}" for i in range(start, start + count)]

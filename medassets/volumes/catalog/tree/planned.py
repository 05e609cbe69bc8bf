"""What the last catalog of a tree planned: a plan only grows, and its samples stay in their splits."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from medassets.volumes.catalog.tree.figures import TreeFigures, read_figures


@dataclass(frozen=True)
class Planned:
    """What the last catalog planned and decided.

    Attributes:
        figures: Its decisions; None without a catalog of a tree.
        paths: Key -> path of planned samples.
        splits: Key -> split of planned samples.
        patients: Key -> patient of planned samples whose patient is known.
    """

    figures: TreeFigures | None
    paths: Mapping[str, str]
    splits: Mapping[str, str]
    patients: Mapping[str, str]

    @classmethod
    def of(cls, previous: pa.Table | None) -> "Planned":
        """Return what a catalog says; None is no catalog."""
        if previous is None:
            return cls(None, {}, {}, {})
        names = ("key", "path", "partition", "patient")
        columns = [
            previous[name].to_pylist()
            if name in previous.column_names
            else [None] * previous.num_rows
            for name in names
        ]
        planned = [row for row in zip(*columns, strict=True) if row[2] is not None]
        return cls(
            figures=read_figures(previous),
            paths={key: path for key, path, _, _ in planned},
            splits={key: partition.rpartition("-")[0] for key, _, partition, _ in planned},
            patients={key: patient for key, _, _, patient in planned if patient is not None},
        )

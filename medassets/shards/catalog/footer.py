"""The footer of a catalog: its schema, where its rows are, and the plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from medassets.shards.catalog.plan import PLAN_KEY, CatalogPlan, parse_plan


@dataclass(frozen=True)
class Footer:
    """What the footer of a catalog says.

    Attributes:
        metadata: The footer as Parquet has it.
        schema: Columns and figures of the table, with its plan.
        where: The file, as messages name it.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    where: str

    @property
    def num_rows(self) -> int:
        """Number of all rows."""
        return self.metadata.num_rows

    @cached_property
    def plan(self) -> CatalogPlan:
        """The plan.

        Raises:
            CatalogError: If there is none.
        """
        return parse_plan(self.schema.metadata, self.where)

    @cached_property
    def ends(self) -> npt.NDArray[np.int64]:
        """Number of the row after the last one of each row group."""
        groups = map(self.metadata.row_group, range(self.metadata.num_row_groups))
        return np.cumsum([group.num_rows for group in groups], dtype=np.int64)

    def read_rows(
        self, file: pq.ParquetFile, start: int, count: int, columns: Sequence[str] | None = None
    ) -> pa.Table:
        """Return rows by number; only the row groups that hold them are read.

        Args:
            file: The catalog.
            start: The first row.
            count: Number of rows.
            columns: Names of columns; None takes all.
        """
        names = None if columns is None else list(columns)
        if not count:
            return file.read_row_groups([], columns=names)
        first, last = np.searchsorted(self.ends, [start, start + count - 1], side="right")
        table = file.read_row_groups(list(range(first, last + 1)), columns=names)
        before = int(self.ends[first - 1]) if first else 0
        return table.slice(start - before, count)


def read_footer(file: pq.ParquetFile, where: str) -> Footer:
    """Return the footer of an open file; older catalogs have the plan in the schema of Arrow."""
    schema, metadata = file.schema_arrow, file.metadata
    own = {k: v for k, v in (metadata.metadata or {}).items() if k == PLAN_KEY}
    return Footer(metadata, schema.with_metadata({**(schema.metadata or {}), **own}), where)

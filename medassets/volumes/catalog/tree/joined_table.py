"""The one table of a source, joined with its volumes: what its rows say of each."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace

from medassets.errors import Reason
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.formats.csv_tables import CsvTable
from medassets.storage.formats.label_rules import LabelRules
from medassets.storage.formats.missing import clean_text
from medassets.volumes.catalog.ct_tables import Exclusion, Row
from medassets.volumes.catalog.sample_keys import make_distinct_key
from medassets.volumes.catalog.tree.figures import JoinFigures, TreeFigures
from medassets.volumes.catalog.tree.join import PATH_FORMS, Join, JoinForms, join_table
from medassets.volumes.catalog.tree.texts import (
    TableTexts,
    exclude_by_texts,
    fill_texts,
    read_texts,
)

_NO_TABLE = CsvTable("", (), rows=[], row_numbers=[])


@dataclass(frozen=True)
class JoinedTable:
    """A table, and which of its rows is about which volume.

    Attributes:
        table: The table; one without columns where there is none.
        columns: Columns that are used.
        texts: Its reports and labels.
        forms: What its cells may be.
        join: Which row is about which volume; None before `join_with`, and without a table.
    """

    table: CsvTable
    columns: TreeColumns
    texts: TableTexts = field(repr=False)
    forms: JoinForms = PATH_FORMS
    join: Join | None = None

    @classmethod
    def read(cls, table: CsvTable | None, columns: TreeColumns, rules: LabelRules) -> "JoinedTable":
        """Read reports and labels of a table; None is no table.

        Raises:
            CatalogError: If more cells of a label cannot be read than can.
        """
        found = table or _NO_TABLE
        used = columns if found.columns else TreeColumns()
        return cls(found, columns, read_texts(found, used, rules))

    @property
    def is_there(self) -> bool:
        """Whether there is a table."""
        return bool(self.table.columns)

    def join_with(
        self,
        names: Sequence[str],
        *,
        declared: str,
        before: TreeFigures | None,
        forms: JoinForms = PATH_FORMS,
    ) -> "JoinedTable":
        """Find the row of each volume; without a table nothing is joined.

        Args:
            names: Paths or keys of the volumes.
            declared: `join_by` of the declaration.
            before: What the first plan has decided; None for a first plan.
            forms: What cells may be.

        Raises:
            CatalogError: If no row names a volume, or two forms name different ones.
        """
        if not self.is_there:
            return self
        kept = before.join.form if before is not None and before.join is not None else ""
        join = join_table(
            self.table,
            self.columns.file,
            names,
            form=declared if declared != "auto" else kept,
            may_miss=before is not None,
            forms=forms,
        )
        return replace(self, join=join, forms=forms)

    def list_uncertain(self) -> dict[str, Exclusion]:
        """Return the volumes of which it is not certain which row is about them, each with its reason."""
        if self.join is None:
            return {}
        found = {name: (Reason.AMBIGUOUS_SOURCE, why) for name, why in self.join.ambiguous.items()}
        return found | {
            name: (Reason.DUPLICATE_ROW, why) for name, why in self.join.conflicts.items()
        }

    def find_row(self, name: str) -> int | None:
        """Return the index of the row that is about a volume; None if there is none."""
        return None if self.join is None else self.join.row_of.get(name)

    def read_cell(self, name: str, column: str) -> str | None:
        """Return what the row of a volume says; None without a row, or where nothing is given."""
        index = self.find_row(name)
        if index is None:
            return None
        return clean_text(self.table.rows[index][self.table.column_index(column)])

    def find_lack(self, name: str, requires: Collection[str]) -> Exclusion | None:
        """Return why report or labels of a volume make no sample; None if they do."""
        if not self.is_there:
            return None
        row: Row = {}
        self.fill(row, name)
        return exclude_by_texts(
            row, self.find_row(name), self.texts, table=self.table, requires=requires
        )

    def fill(self, row: Row, name: str) -> None:
        """Add report and labels of a volume to its row of the catalog."""
        fill_texts(row, self.find_row(name), self.texts, self.columns)

    def read_metadata(self, name: str) -> str:
        """Return the kept cells of a volume, as JSON."""
        index = self.find_row(name)
        return "{}" if index is None else self.texts.metadata[index]

    def iter_rows(self) -> Iterator[Row]:
        """Yield a row of the catalog per row of the table that is about no volume, or repeats another."""
        if self.join is None:
            return
        names = self.table.column(self.columns.file)
        for index in self.join.unmatched:
            what = f"{self.forms.show(names[index])} names no volume of the tree"
            yield self._exclude(index, Reason.MISSING_SOURCE, what)
        for index, first in self.join.repeats.items():
            what = f"repeats row {self.table.row_numbers[first]}"
            yield self._exclude(index, Reason.DUPLICATE_ROW, what)

    def _exclude(self, index: int, reason: Reason, what: str) -> Row:
        path, number = self.table.path, self.table.row_numbers[index]
        return {
            "key": make_distinct_key(f"table-row-{number}", of=f"{path}:{number}"),
            "excluded": str(reason),
            "detail": f"{path}, row {number}: {what}",
        }

    def describe(self, num_volumes: int) -> JoinFigures | None:
        """Return the counts of the table; None without one.

        Args:
            num_volumes: Volumes that could have a row.
        """
        join = self.join
        if join is None:
            return None
        return JoinFigures(
            table=self.table.path,
            form=join.form,
            files_matched=len(join.row_of),
            files_unmatched=num_volumes - len(join.row_of) - join.num_uncertain,
            files_ambiguous=join.num_uncertain,
            rows_matched=join.num_rows,
            rows_unmatched=len(join.unmatched),
            rows_repeated=len(join.repeats),
            noun=self.forms.noun,
        )

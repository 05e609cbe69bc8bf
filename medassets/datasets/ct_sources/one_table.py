"""A source whose volumes may have reports, labels, patients and splits in one table."""

from pathlib import Path
from typing import ClassVar

from medassets.datasets.ct_sources.base import CTSource, check_inside
from medassets.errors import CatalogError, SpecError
from medassets.sources.base import Source
from medassets.specs import SAMPLE_TEXTS
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.foreign_bytes import read_table
from medassets.storage.formats.csv_tables import CsvTable
from medassets.volumes.catalog.label_summary import read_label_rules
from medassets.volumes.catalog.tree.join import JoinForms
from medassets.volumes.catalog.tree.table import parse_table

TABLE_FIELDS = frozenset({"table", "columns", "join_by"})
"""Fields that say where the table is, and what it holds."""


class OneTable(CTSource):
    """A source with one table, or none."""

    TEXT_FIELDS = frozenset({"labels", "requires"})

    called: ClassVar[str] = ""
    """What messages call the source, as a declaration does."""

    join_forms: ClassVar[JoinForms]
    """What cells that name volumes may be."""

    @property
    def columns(self) -> TreeColumns:
        """Columns of the table that are used."""
        return TreeColumns.parse(self.spec.columns)

    @property
    def requires(self) -> frozenset[str]:
        """What is required by name, or else what the table is declared to have."""
        if self.spec.requires is not None:
            return frozenset(self.spec.requires)
        return frozenset(name for name in SAMPLE_TEXTS if getattr(self.columns, name))

    def check_table(self) -> None:
        """Check the table and its columns.

        Raises:
            SpecError: Naming the first wrong field.
        """
        spec = self.spec
        if spec.table and not spec.table.startswith(("/", "~")):
            check_inside("table", spec.table)
        try:
            columns = self.columns
        except ValueError as error:
            raise SpecError(field="columns", what=str(error)) from error
        if bool(spec.table) != bool(columns.file):
            field = "columns" if spec.table else "table"
            what = "a table needs `columns`, and `columns` a `table`; declare both or none"
            raise SpecError(field=field, what=what)
        if spec.join_by not in ("auto", *self.join_forms.namers):
            what = (
                f"{self.called} joins by {', '.join(self.join_forms.namers)}, got {spec.join_by!r}"
            )
            raise SpecError(field="join_by", what=what)
        self._check_texts(columns)
        if spec.split_by == "column" and not columns.split:
            raise SpecError(field="split_by", what="column: `columns` names no column of splits")

    def _check_texts(self, columns: TreeColumns) -> None:
        unused = [name for name in SAMPLE_TEXTS if getattr(columns, name)]
        if unused and not self.with_texts:
            what = f"{unused[0]} has no effect on windows, which have neither report nor labels"
            raise SpecError(field="columns", what=what)
        for name in self.requires if self.with_texts else ():
            if not getattr(columns, name):
                what = f"{name}: `columns` names no column of it"
                raise SpecError(field="requires", what=what)
        read_label_rules(self.spec)
        if self.spec.labels.keys() - {"values"}:
            what = f"{self.called} takes `values` only; the columns are those of `columns`"
            raise SpecError(field="labels", what=what)

    def first_table(self) -> str | None:
        """Return the path of the table, if it is inside the source."""
        is_inside = self.spec.table and not self.spec.table.startswith(("/", "~"))
        return self.spec.table if is_inside else None

    def read_declared_table(self, files: Source, revision: str | None) -> CsvTable | None:
        """Return the declared table with all its columns; None without one.

        Raises:
            CatalogError: If it is missing or malformed; or naming all columns that it lacks.
        """
        path, columns = self.spec.table, self.columns
        if not path:
            return None
        if self.first_table() is not None:
            content = files.read_table(path, revision=revision)
        else:
            content = _read_local(Path(path).expanduser())
        table = parse_table(content, path, sheet=columns.sheet)
        missing = [name for name in columns.list_names() if name not in table.columns]
        if missing:
            msg = (
                f"{path}, row 1: no column{'s' * (len(missing) > 1)} {', '.join(missing)}; found "
                f"{', '.join(table.columns)}"
            )
            raise CatalogError(msg)
        return table


def _read_local(place: Path) -> bytes:
    try:
        return read_table(place)
    except OSError as error:
        msg = f"{place}: the table cannot be read ({error.strerror})"
        raise CatalogError(msg) from error

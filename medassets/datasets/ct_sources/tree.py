"""Any folders of NIfTI files, on a hub or in a folder, with one table or none."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from medassets.datasets.ct_sources.base import CTSource, check_inside, check_shares, require_fields
from medassets.datasets.ct_sources.hub import HUB_FIELDS, HubRepository
from medassets.datasets.ct_sources.image_files import ImageFolder
from medassets.errors import CatalogError, SpecError
from medassets.samples import Listing, SourceItem
from medassets.sources.base import FileTree, Source
from medassets.specs import SAMPLE_TEXTS
from medassets.specs.tree_columns import TreeColumns
from medassets.storage.foreign_bytes import read_table
from medassets.storage.formats.csv_tables import CsvTable
from medassets.volumes.catalog.label_summary import read_label_rules
from medassets.volumes.catalog.tree.figures import read_figures
from medassets.volumes.catalog.tree.names import ENDINGS
from medassets.volumes.catalog.tree.rows import read_tree_rows
from medassets.volumes.catalog.tree.table import parse_table
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.images.reader import DETACHED
from medassets.volumes.files.volume_files import open_volume_file

TREE_FIELDS = frozenset(
    {
        *("volumes_dir", "table", "columns", "join_by", "exclude"),
        *("split_by", "split_shares", "seed", "patient_from", "accept_leaks"),
    }
)
"""Fields that every tree reads."""


class TreeFolder(CTSource):
    """A folder with NIfTI files at any depth."""

    FIELDS = TREE_FIELDS | {"folder"}
    TEXT_FIELDS = frozenset({"labels", "requires"})
    has_headers = True
    wanted_file = ".nii, .nii.gz, .mha or .nrrd file"
    states_orientation = True
    is_compressed = True

    @property
    def _endings(self) -> tuple[str, ...]:
        return ENDINGS

    def open_files(self) -> Source:
        """Return the folder; a header and the file of its voxels are one file of it."""
        return ImageFolder(self.folder)

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

    def check(self) -> None:
        """Check the folder, the table and its columns, and how splits are made."""
        require_fields(self.spec, folder="source folder needs the path of the source tree")
        self._check_tree()

    def _check_tree(self) -> None:
        spec = self.spec
        for name in ("volumes_dir", "table"):
            path = getattr(spec, name)
            if path and not (name == "table" and path.startswith(("/", "~"))):
                check_inside(name, path)
        if "{split}" in spec.volumes_dir + spec.table:
            field = "volumes_dir" if "{split}" in spec.volumes_dir else "table"
            what = "layout tree has one folder and one table for all splits; see split_by"
            raise SpecError(field=field, what=what)
        if spec.hu_rule == "table":
            what = "layout tree takes HU from the header; declare header, or none (they are HU)"
            raise SpecError(field="hu_rule", what=what)
        self._check_columns()
        self._check_splits()

    def _check_columns(self) -> None:
        spec = self.spec
        try:
            columns = self.columns
        except ValueError as error:
            raise SpecError(field="columns", what=str(error)) from error
        if bool(spec.table) != bool(columns.file):
            field = "columns" if spec.table else "table"
            what = "a table needs `columns`, and `columns` a `table`; declare both or none"
            raise SpecError(field=field, what=what)
        unused = [name for name in SAMPLE_TEXTS if getattr(columns, name)]
        if unused and not self.with_texts:
            what = f"{unused[0]} has no effect on windows, which have neither report nor labels"
            raise SpecError(field="columns", what=what)
        for name in self.requires if self.with_texts else ():
            if not getattr(columns, name):
                what = f"{name}: `columns` names no column of it"
                raise SpecError(field="requires", what=what)
        read_label_rules(spec)
        if spec.labels.keys() - {"values"}:
            what = "layout tree takes `values` only; the columns are those of `columns`"
            raise SpecError(field="labels", what=what)

    def _check_splits(self) -> None:
        spec, columns = self.spec, self.columns
        if spec.split_by == "column" and not columns.split:
            raise SpecError(field="split_by", what="column: `columns` names no column of splits")
        check_shares(spec.split_shares, spec.splits)

    def first_table(self) -> str | None:
        """Return the path of the table, if it is inside the source."""
        is_inside = self.spec.table and not self.spec.table.startswith(("/", "~"))
        return self.spec.table if is_inside else None

    def first_file(self, files: Source, *, revision: str) -> str | None:
        """Return the table inside the source, or else a volume of it."""
        if (table := self.first_table()) is not None:
            return table
        listing = self._list_files(files, revision)
        return next((file.path for file in listing.files if file.problem is None), None)

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per file, and per row of the table without one; see `volumes.catalog.tree`."""
        return read_tree_rows(
            self.spec,
            self._list_files(files, revision),
            self._read_table(files, revision),
            revision=revision,
            previous=previous,
            with_texts=self.with_texts,
            requires=self.requires if self.with_texts else (),
        )

    def _list_files(self, files: Source, revision: str | None) -> Listing:
        under = self.spec.volumes_dir.rstrip("/")
        tree = cast("FileTree", files)
        return tree.list_files(under, self._endings, revision=revision)

    def _read_table(self, files: Source, revision: str | None) -> CsvTable | None:
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

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open a NIfTI, MetaImage or NRRD file."""
        return open_volume_file(path)

    def find_unused(
        self, place: Path, items: Sequence[SourceItem], *, ignored: Collection[str]
    ) -> str:
        """Return that the voxels of a header are in another file, which would be left alone."""
        is_detached = place.name.lower().endswith(DETACHED)
        return "the voxels of a header, in a file of their own" if is_detached else ""

    def read_spacing(self, item: SourceItem) -> None:
        """Return None: the header of each file states its spacing."""

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return how the table was joined, splits and patients, and the labels."""
        figures = read_figures(table)
        found = {} if figures is None else {"tree": figures.describe()}
        return {**found, **super().describe_catalog(table)}


class TreeHub(HubRepository, TreeFolder):
    """A dataset repository on the Hugging Face Hub with NIfTI files at any depth."""

    FIELDS = HUB_FIELDS | TREE_FIELDS

    @property
    def _endings(self) -> tuple[str, ...]:
        # A header whose voxels are in another file would be fetched without them.
        return tuple(ending for ending in ENDINGS if ending not in DETACHED)

    def check(self) -> None:
        """Check the name of the repository, the table and its columns, and how splits are made."""
        self.check_repository()
        self._check_tree()


def _read_local(place: Path) -> bytes:
    try:
        return read_table(place)
    except OSError as error:
        msg = f"{place}: the table cannot be read ({error.strerror})"
        raise CatalogError(msg) from error

"""Any folders of NIfTI files, on a hub or in a folder, with one table or none."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pyarrow as pa

from medassets.datasets.ct_sources.base import check_inside, check_shares, require_fields
from medassets.datasets.ct_sources.hub import HUB_FIELDS, HubRepository
from medassets.datasets.ct_sources.image_files import ImageFolder
from medassets.datasets.ct_sources.one_table import TABLE_FIELDS, OneTable
from medassets.errors import SpecError
from medassets.samples import Listing, SourceItem
from medassets.sources.base import FileTree, Source
from medassets.volumes.catalog.tree.figures import read_figures
from medassets.volumes.catalog.tree.join import PATH_FORMS
from medassets.volumes.catalog.tree.names import ENDINGS
from medassets.volumes.catalog.tree.rows import read_tree_rows
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.images.reader import DETACHED
from medassets.volumes.files.volume_files import open_volume_file

TREE_FIELDS = frozenset(
    {
        *(*TABLE_FIELDS, "volumes_dir", "exclude"),
        *("split_by", "split_shares", "seed", "patient_from", "accept_leaks"),
    }
)
"""Fields that every tree reads."""


class TreeFolder(OneTable):
    """A folder with NIfTI files at any depth."""

    FIELDS = TREE_FIELDS | {"folder"}
    called = "layout tree"
    join_forms = PATH_FORMS
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

    def check(self) -> None:
        """Check the folder, the table and its columns, and how splits are made."""
        require_fields(self.spec, folder="source folder needs the path of the source tree")
        self._check_tree()

    def _check_tree(self) -> None:
        spec = self.spec
        if spec.volumes_dir:
            check_inside("volumes_dir", spec.volumes_dir)
        if "{split}" in spec.volumes_dir + spec.table:
            field = "volumes_dir" if "{split}" in spec.volumes_dir else "table"
            what = "layout tree has one folder and one table for all splits; see split_by"
            raise SpecError(field=field, what=what)
        if spec.hu_rule == "table":
            what = "layout tree takes HU from the header; declare header, or none (they are HU)"
            raise SpecError(field="hu_rule", what=what)
        self.check_table()
        check_shares(spec.split_shares, spec.splits)

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
            self.read_declared_table(files, revision),
            revision=revision,
            previous=previous,
            with_texts=self.with_texts,
            requires=self.requires if self.with_texts else (),
        )

    def _list_files(self, files: Source, revision: str | None) -> Listing:
        under = self.spec.volumes_dir.rstrip("/")
        tree = cast("FileTree", files)
        return tree.list_files(under, self._endings, revision=revision)

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

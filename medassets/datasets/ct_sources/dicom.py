"""A tree of DICOM files on this machine, in any order and under any names."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.ct_sources.base import check_inside, check_shares, require_fields
from medassets.datasets.ct_sources.dicom_files import DicomFiles
from medassets.datasets.ct_sources.one_table import TABLE_FIELDS, OneTable
from medassets.errors import Reason, SampleRejectedError, SpecError
from medassets.samples import SourceItem
from medassets.sources.base import Source
from medassets.storage.foreign_bytes import open_foreign
from medassets.volumes.catalog.dicom.figures import read_dicom_figures
from medassets.volumes.catalog.dicom.join import make_forms
from medassets.volumes.catalog.dicom.rows import make_dicom_rows
from medassets.volumes.catalog.dicom.series import SeriesRules
from medassets.volumes.catalog.dicom.stacking import Stack, read_header
from medassets.volumes.catalog.tree.figures import read_figures
from medassets.volumes.files.dicom.header import is_keyword, read_tags
from medassets.volumes.files.dicom.packages import require_packages
from medassets.volumes.files.dicom.reader import open_series
from medassets.volumes.files.header import VolumeStream

_SPLIT_FIELDS = frozenset({"split_by", "split_shares", "seed", "accept_leaks"})


class DicomTree(OneTable):
    """A folder with DICOM files at any depth; each series is a volume."""

    FIELDS = (
        _SPLIT_FIELDS
        | TABLE_FIELDS
        | {"folder", "volumes_dir", "modalities", "accept_derived", "tags"}
    )
    called = "source dicom"
    join_forms = make_forms()
    has_headers = True
    wanted_file = "DICOM file"
    states_orientation = True

    @property
    def _files(self) -> DicomFiles:
        spec = self.spec
        rules = SeriesRules(
            modalities=tuple(spec.modalities),
            accept_derived=spec.accept_derived,
            needs_rescaling=spec.effective_hu_rule == "header",
        )
        return DicomFiles(self.folder, spec.volumes_dir.rstrip("/"), rules)

    def check(self) -> None:
        """Check the folder, the table, the elements that are kept, and how splits are made."""
        spec = self.spec
        require_fields(spec, folder="source dicom needs the path of the tree of DICOM files")
        if spec.volumes_dir:
            check_inside("volumes_dir", spec.volumes_dir)
        if "{split}" in spec.volumes_dir + spec.table:
            field = "volumes_dir" if "{split}" in spec.volumes_dir else "table"
            what = "source dicom has one folder and one table for all splits; see split_by"
            raise SpecError(field=field, what=what)
        if spec.hu_rule == "table":
            what = "source dicom takes HU from the header; declare header, or none (they are HU)"
            raise SpecError(field="hu_rule", what=what)
        if not spec.modalities:
            raise SpecError(field="modalities", what="expected at least one, such as [CT]")
        self.check_table()
        check_shares(spec.split_shares, spec.splits)
        both = sorted({*spec.tags} & {*self.columns.metadata})
        if both:
            what = f"{', '.join(both)}: also an element of `tags`; the json of a sample has one of a name"
            raise SpecError(field="columns", what=what)

    def open_files(self) -> DicomFiles:
        """Return the series of the folder."""
        return self._files

    @property
    def series(self) -> DicomFiles:
        """The series of the folder."""
        return self._files

    def has_file(self, path: str) -> bool:
        """Tell whether a series is in the source, whole."""
        return self._files.has(path)

    def is_gone(self, path: str) -> bool:
        """Tell whether a series is no longer in the source, or makes no volume any more."""
        return not self._files.has(path)

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per volume, and per series and reason of what is none.

        Raises:
            CatalogError: If the folder cannot be listed, `tags` names no element of DICOM, or the table is
                missing or malformed.
        """
        require_packages()
        self._check_tags()
        return make_dicom_rows(
            self.spec,
            self._files.scan(),
            table=self.read_declared_table(files, revision),
            requires=self.requires if self.with_texts else (),
            read_tags=self._read_tags,
            previous=previous,
            with_texts=self.with_texts,
        )

    def _check_tags(self) -> None:
        for name in self.spec.tags:
            if not is_keyword(name):
                what = (
                    f"expected keywords of DICOM elements such as KVP or PatientSex, got {name!r}"
                )
                raise SpecError(field="tags", what=what)

    def _read_tags(self, stack: Stack) -> Mapping[str, str | None]:
        with open_foreign(self.folder / stack.slices[0].path) as file:
            return read_tags(file, tuple(self.spec.tags))

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open the series of an item; `path` is that of its first slice, and is not needed."""
        stack = self._files.find(item.path)
        if stack is None or len(stack.slices) != item.row["num_slices"]:
            what = "its files are not those of the catalog; plan again"
            raise SampleRejectedError(Reason.UNREADABLE_SOURCE, f"{item.key}: {what}")
        slices = [(self.folder / file.path, read_header(file)) for file in stack.slices]
        return open_series(slices, stack.geometry, is_hu=self.spec.is_hu)

    def read_spacing(self, item: SourceItem) -> None:
        """Return None: the files state their spacing."""

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return what the files are, and how splits were made."""
        tree, dicom = read_figures(table), read_dicom_figures(table)
        return {
            **({"dicom": dicom.describe()} if dicom is not None else {}),
            **({"tree": tree.describe()} if tree is not None else {}),
            **super().describe_catalog(table),
        }

    def find_unused(
        self, place: Path, items: Sequence[SourceItem], *, ignored: Collection[str]
    ) -> str:
        """Return which files of a series no sample stores: it may be deleted as a whole only."""
        for item in items:
            series = self._files.find_series(item.path)
            if series is None or not series.stacks:
                continue
            if not series.has_uid:
                return "files that may be of another series: none states a SeriesInstanceUID"
            if not series.is_whole:
                number = len(series.files) - sum(
                    len(stack.slices) + len(stack.copies) for stack in series.stacks
                )
                return f"{number:,} more files of its series, or other volumes"
        return ""

"""Trees of `.npz` files with CSV tables of metadata, reports and labels."""

import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.ct_sources.base import (
    CTSource,
    check_inside,
    check_place,
    check_split_paths,
    check_table_labels,
    require_fields,
    shorten_names,
)
from medassets.errors import SpecError
from medassets.samples import SourceItem
from medassets.sources.base import Source
from medassets.volumes.catalog.npz_rows import read_npz_rows
from medassets.volumes.catalog.npz_tree import read_trees
from medassets.volumes.files.array_files import open_npz_array
from medassets.volumes.files.header import VolumeStream

# Field of each table -> what of a sample it is needed for; None where always.
_TABLES = {"reports_file": "report", "meta_file": None, "labels_file": "labels"}


class NpzTree(CTSource):
    """A tree of `.npz` files on this machine, one volume each."""

    FIELDS = frozenset({"folder", "volumes_dir", "array_key", "meta_file"})
    DELETION_FIELDS = frozenset({"ignored_members"})
    TEXT_FIELDS = frozenset({"reports_file", "labels_file", "labels", "requires"})

    def check(self) -> None:
        """Check folder, array and tables; several splits need paths of their own."""
        spec = self.spec
        check_table_labels(spec)
        require_fields(spec, folder="source npz needs the path of the tree of .npz files")
        require_fields(spec, array_key="expected the name of an array, such as data")
        tables = tuple(name for name in _TABLES if name in self.used_fields)
        missing = [name for name in tables if not getattr(spec, name) and self._needs(name)]
        if missing:
            what = "source npz needs this CSV, with a column VolumeName"
            more = f"; and {' and '.join(missing[1:])}" if missing[1:] else ""
            raise SpecError(field=missing[0], what=what + more)
        tables = tuple(name for name in tables if getattr(spec, name))
        for name in tables:
            check_place(spec, name)
        if spec.volumes_dir:
            check_inside("volumes_dir", spec.volumes_dir)
        check_split_paths(spec, ("volumes_dir", *tables))

    def _needs(self, table: str) -> bool:
        return _TABLES[table] is None or _TABLES[table] in self.requires

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per file or table row; see `volumes.catalog.npz_rows`."""
        return read_npz_rows(
            self.spec,
            self.folder,
            previous,
            with_texts=self.with_texts,
            requires=self.requires,
        )

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open the declared array of a file."""
        return open_npz_array(path, self.spec.array_key)

    def fingerprint_facts(self) -> dict[str, Any]:
        """Return which array of a file is the volume."""
        return {"array": [self.spec.source, self.spec.array_key]}

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return which depth of each split's tree is in use, and the labels."""
        return {"npz_trees": read_trees(table), **super().describe_catalog(table)}

    def find_unused(
        self, place: Path, items: Sequence[SourceItem], *, ignored: Collection[str]
    ) -> str:
        """Return the arrays of a file that no sample stores."""
        known = {self.spec.array_key, *ignored}
        with zipfile.ZipFile(place) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
        # Of two arrays of one name, one is in no shard.
        unused = [name for name, count in Counter(names).items() if name not in known or count > 1]
        return f"the arrays {shorten_names(unused)}" if unused else ""

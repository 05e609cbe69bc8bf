"""Read parts of the catalog on disk that a plan grows from.

The texts of a million clips are half a GB, and today's rows hold them once already.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from medassets.errors import CatalogError
from medassets.shards.catalog.footer import Footer, read_footer
from medassets.shards.catalog.growth import Numbers
from medassets.storage.arrow import release_memory
from medassets.storage.ownership import is_plain_file
from medassets.storage.unreadable import require_regular

_LARGE_BYTES = 1 << 25
_HEAD_BYTES, _MAGIC = 1 << 12, b"PAR1"
_DATASET_KEY = b"medassets.dataset"


def name_dataset(catalog: pa.Table, dataset: str) -> pa.Table:
    """Return a catalog that names its dataset."""
    metadata = {**(catalog.schema.metadata or {}), _DATASET_KEY: dataset.encode()}
    return catalog.replace_schema_metadata(metadata)


def dataset_of(schema: pa.Schema) -> str | None:
    """Return the dataset that a catalog names; older versions named none."""
    name = (schema.metadata or {}).get(_DATASET_KEY)
    return name.decode() if name is not None else None


def require_catalog_of(dataset: str, schema: pa.Schema, path: Path) -> None:
    """Refuse the catalog of another dataset.

    Raises:
        CatalogError: If the catalog names another dataset.
    """
    if dataset_of(schema) not in (None, dataset):
        msg = f"{path}: this is the catalog of {dataset_of(schema)}, not of {dataset}; move it away"
        raise CatalogError(msg)


@contextmanager
def open_previous(path: Path, dataset: str) -> "Iterator[PreviousCatalog | None]":
    """Open the catalog that a plan grows from; yields None if there is none yet.

    The file stays open, so that all rows come from the same catalog even if another takes its
    place meanwhile.

    Raises:
        CatalogError: If the file is not a catalog, or that of another dataset.
    """
    if not path.exists():
        yield None
        return
    with explain_unreadable(path):
        # A buffer would need as much memory as the columns that are read.
        file = pq.ParquetFile(path, pre_buffer=False)
    with file:
        footer = read_footer(file, str(path))
        require_catalog_of(dataset, footer.schema, path)
        yield PreviousCatalog(path, file, footer)


@contextmanager
def explain_unreadable(path: Path) -> Iterator[None]:
    """Turn errors of reading a file that is not a catalog into a `CatalogError` with a remedy.

    Raises:
        CatalogError: If the block could not read the catalog.
    """
    try:
        require_regular(path)
        yield
    except (OSError, pa.ArrowException) as error:
        is_ours = is_remnant(path)
        before = "restore it from a copy, or" if is_ours else "move it away, then"
        kept = " and keeps this file under another name" if is_ours else ""
        msg = (
            f"{path}: not a readable catalog ({error}); {before} `medassets reconcile` restores the "
            f"plan from the shards on disk{kept}"
        )
        raise CatalogError(msg) from error


def is_remnant(path: Path) -> bool:
    """Return whether a file that is not readable may be what is left of a catalog.

    It is empty, begins like one, or has only zeros, as after the loss of power.
    """
    try:
        if not is_plain_file(path):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return False
    return head.startswith(_MAGIC) or not any(head)


def _column_bytes(metadata: pq.FileMetaData) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            # A list is stored as its elements, under a path that begins with its name.
            name = column.path_in_schema.split(".")[0]
            sizes[name] = sizes.get(name, 0) + column.total_uncompressed_size
    return sizes


@dataclass(frozen=True)
class PreviousCatalog:
    """A catalog on disk that a plan grows from.

    Attributes:
        path: The catalog.
        file: The same, open.
        footer: Its footer.
    """

    path: Path
    file: pq.ParquetFile = field(repr=False)
    footer: Footer = field(repr=False)

    @property
    def schema(self) -> pa.Schema:
        """Columns, figures and plan."""
        return self.footer.schema

    def read_keys(self) -> pa.Table:
        """Return the column `key`, `mtime_ns` if there is one, and the plan.

        That is enough for `plan_catalog`.

        Raises:
            CatalogError: If the file is not a catalog.
        """
        return self.read_columns("key", "mtime_ns")

    def read_columns(self, *names: str) -> pa.Table:
        """Return some columns of all rows; those that the catalog does not have are left out.

        Raises:
            CatalogError: If the file is not a catalog.
        """
        known = self.schema.names
        return self._read([name for name in names if name in known])

    def read_slim(self, *, large_bytes: int = _LARGE_BYTES) -> pa.Table:
        """Return all rows without large columns of texts and lists.

        Keys, paths and columns of numbers always come.

        Args:
            large_bytes: Columns of at least this size, before compression, are left out.

        Raises:
            CatalogError: If the file is not a catalog.
        """
        schema = self.schema
        sizes = _column_bytes(self.file.metadata)
        small = [
            name
            for name, dtype in zip(schema.names, schema.types, strict=True)
            if name in ("key", "path")
            or pa.types.is_primitive(dtype)
            or sizes.get(name, 0) < large_bytes
        ]
        return self._read(small)

    def fetch(self, numbers: Numbers) -> pa.Table:
        """Return whole rows by number, in that order; only the row groups that hold them are read.

        Raises:
            CatalogError: If the file is not a catalog.
        """
        ends = self.footer.ends
        wanted, places = np.unique(numbers, return_inverse=True)
        groups = np.searchsorted(ends, wanted, side="right")
        pieces = [self.file.schema_arrow.empty_table()]
        for group in np.unique(groups).tolist():
            inside = wanted[groups == group] - (ends[group - 1] if group else 0)
            with explain_unreadable(self.path):
                pieces.append(self.file.read_row_group(group).take(pa.array(inside)))
        return pa.concat_tables(pieces).take(pa.array(places))

    def _read(self, columns: list[str]) -> pa.Table:
        with explain_unreadable(self.path):
            table = self.file.read(columns=columns)
        release_memory()
        return table.replace_schema_metadata(self.schema.metadata)

"""A catalog that is no longer whole: set aside, so that the plan is restored from the shards."""

import itertools
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medassets.errors import CatalogError
from medassets.shards.catalog.footer import read_footer
from medassets.shards.catalog.plan import PLAN_KEY
from medassets.shards.catalog.previous import is_remnant
from medassets.storage.atomic import fsync_folder
from medassets.storage.locks import lock_file
from medassets.storage.ownership import is_plain_file
from medassets.storage.paths import DatasetPaths


def is_damaged(path: Path) -> bool:
    """Return whether a file is what is left of a catalog: cut off, empty, or with rows of other bytes.

    What other programs wrote is not.

    Args:
        path: Place of the catalog.

    Raises:
        LaterVersionError: If a later version wrote it.
    """
    if not is_plain_file(path):
        return False
    try:
        return _has_damaged_rows(path)
    except (OSError, pa.ArrowException) as error:
        # A disk or a user's rights that refuse to read say nothing about the content.
        return getattr(error, "errno", None) is None and is_remnant(path)


def find_free_name(path: Path) -> Path:
    """Return the name under which a damaged catalog is kept."""
    names = (f"{path.name}.damaged" + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
    return next(p for p in map(path.with_name, names) if not os.path.lexists(p))


def set_aside(paths: DatasetPaths) -> Path | None:
    """Give a damaged catalog another name; return it, None if the catalog is whole or foreign.

    Args:
        paths: Paths of the dataset.
    """
    path = paths.catalog
    with lock_file(paths.catalog_lock):
        if not is_damaged(path):
            return None
        kept = find_free_name(path)
        path.rename(kept)
        fsync_folder(path.parent)
    return kept


def _has_damaged_rows(path: Path) -> bool:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        footer = read_footer(file, str(path))
        if PLAN_KEY not in (footer.schema.metadata or {}):
            return False
        try:
            _ = footer.plan
        except CatalogError:
            return True
        for group in range(file.num_row_groups):
            file.read_row_group(group)
    return False

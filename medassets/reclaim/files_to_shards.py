"""Which shards hold the samples of each file of a source."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medassets.shards.catalog.plan import STATE_PLANNED
from medassets.shards.catalog.previous import explain_unreadable
from medassets.sources.base import Source
from medassets.storage.paths import split_partition_key


@dataclass
class Places:
    """Where the samples of one file are.

    Attributes:
        partitions: Shards that hold them, in order.
        num_unplanned: Rows of the file that are in no shard.
    """

    partitions: list[str] = field(default_factory=list)
    num_unplanned: int = 0


def index_places(table: pa.Table, physical: Callable[[str], str]) -> dict[str, Places]:
    """Return where the samples of each source file are.

    Args:
        table: Rows of a catalog: `path`, `state` and `partition`.
        physical: Maps the path of a sample to that of the file that contains it.
    """
    found: dict[str, Places] = {}
    columns = (table[name].to_pylist() for name in ("path", "state", "partition"))
    for virtual, state, partition in zip(*columns, strict=True):
        if virtual is None:
            continue
        places = found.setdefault(physical(virtual), Places())
        if state != STATE_PLANNED:
            places.num_unplanned += 1
        elif partition not in places.partitions:
            places.partitions.append(partition)
    for places in found.values():
        places.partitions.sort(key=split_partition_key)
    return found


def read_places(catalog: Path, source: Source) -> dict[str, Places]:
    """Return where the samples of each source file are, according to a catalog on disk.

    It is read once for all shards: of 50,000 rows that takes a tenth of a second.

    Raises:
        CatalogError: If the file is not a catalog.
    """
    found = catalog.stat()
    return _read_index(catalog, (found.st_ino, found.st_mtime_ns), source)


@lru_cache(maxsize=2)
def _read_index(path: Path, _version: tuple[int, int], source: Source) -> dict[str, Places]:
    with explain_unreadable(path):
        table = pq.read_table(path, columns=["path", "state", "partition"])
    return index_places(table, source.physical_path)

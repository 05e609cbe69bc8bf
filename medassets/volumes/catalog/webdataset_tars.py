"""The tars that a declaration names, and what the last catalog states about them."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa

from medassets.errors import CatalogError, ShardIntegrityError
from medassets.specs import CTSourceSpec
from medassets.storage.checksums import canonical_json
from medassets.storage.paths import show_path
from medassets.tars.index import TarStat, split_sample_path
from medassets.tars.lists import FoundShard, find_shards

TARS_KEY = b"medassets.webdataset_tars"
"""Key of the schema metadata that holds size, time and number of rows of every tar that was read."""


class TarFolder(Protocol):
    """What listing tars needs of a source."""

    @property
    def folder(self) -> Path:
        """Top of the tree that holds them."""
        ...

    def locate(self, path: str) -> Path | None:
        """Return where a tar is, None where it does not belong to the source."""
        ...


class NamedTar(NamedTuple):
    """One tar that a declaration names.

    Attributes:
        path: Path inside the source.
        num_samples: What the manifest says of it; None without a manifest.
        num_bytes: Likewise.
    """

    path: str
    num_samples: int | None
    num_bytes: int | None


class KnownTars:
    """What the last catalog knows of tars.

    Args:
        previous: The last catalog.
        reading: What its rows depend on beside the tars; other rows are not reused.
        columns: Those that a row has.
    """

    def __init__(self, previous: pa.Table | None, *, reading: str, columns: list[str]) -> None:
        self._previous = previous
        self._numbers: dict[tuple[str, str], list[int]] = {}
        self._stats: dict[str, list[int]] = {}
        self._columns = columns
        self.planned: dict[str, str] = {}
        """Key of each sample that can be in a shard -> its path."""
        self._planned_tars: set[str] = set()
        if previous is None:
            return
        names = ("key", "path", "split", "excluded")
        cells = (previous[name].to_pylist() for name in names)
        for number, (key, path, split, excluded) in enumerate(zip(*cells, strict=True)):
            tar = _tar_of(path or "")
            self._numbers.setdefault((split, tar), []).append(number)
            if excluded is None:
                self.planned[key] = path
                self._planned_tars.add(tar)
        known = json.loads((previous.schema.metadata or {}).get(TARS_KEY, b"{}"))
        if known.get("reading") == reading and set(columns) <= set(previous.column_names):
            self._stats = known["tars"]

    def has_samples(self, tar: str) -> bool:
        """Tell whether a sample of a tar can be in a shard."""
        return tar in self._planned_tars

    def has_split(self, split: str) -> bool:
        """Tell whether the catalog has rows of a split."""
        return any(known == split for known, _ in self._numbers)

    def read_rows(self, tar: str, split: str, stat: TarStat) -> list[dict[str, Any]] | None:
        """Return the rows of a tar that is as it was; None where it has to be read."""
        numbers = self._numbers.get((split, tar), [])
        if self._previous is None or self._stats.get(tar) != [*stat, len(numbers)]:
            return None
        rows = self._previous.select(self._columns).take(pa.array(numbers)).to_pylist()
        # A planned row is kept when its tar is deleted, and which of several samples of a study is
        # used may have changed.
        if any(r["mtime_ns"] != stat.mtime_ns or r["excluded"] == "duplicate_row" for r in rows):
            return None
        return rows


def describe_tars(read: Mapping[str, tuple[TarStat, int]], *, reading: str) -> bytes:
    """Return what the catalog stores about tars for the next refresh; see `KnownTars`."""
    tars = {path: [*stat, num_rows] for path, (stat, num_rows) in read.items()}
    return canonical_json({"reading": reading, "tars": tars})


def find_tars(
    spec: CTSourceSpec, source: TarFolder, split: str, *, may_be_gone: bool
) -> list[NamedTar]:
    """Return the tars that a declaration names for a split, by path inside the source.

    Args:
        spec: Declaration; a pattern in braces or a manifest names every tar there must be.
        source: The folder that holds them.
        split: One of the splits.
        may_be_gone: Whether all of them may have been deleted; the result is then empty.

    Raises:
        CatalogError: If none is named, one is outside the source, or is not named `*.tar`.
    """
    text = Path(spec.of_split(spec.shards, split)).expanduser()
    try:
        found = find_shards(str(source.folder / text))
    except ShardIntegrityError as error:
        if may_be_gone:
            return []
        msg = f"shards: {error}"
        raise CatalogError(msg) from error
    return [_name_tar(shard, source.folder) for shard in found]


def _name_tar(shard: FoundShard, folder: Path) -> NamedTar:
    place, top = (os.path.normpath(path.absolute()) for path in (shard.path, folder))
    path = os.path.relpath(place, top)
    shown = show_path(place)
    if path.split("/")[0] == "..":
        msg = f"shards: {shown} is not inside the source, {top}; `folder` names its top"
        raise CatalogError(msg)
    if _tar_of(f"{path}/key") != path:
        msg = f"shards: {shown}: expected a file named *.tar, in folders that are not"
        raise CatalogError(msg)
    return NamedTar(path, shard.num_samples, shard.size_bytes)


def _tar_of(path: str) -> str:
    try:
        return split_sample_path(path)[0]
    except CatalogError:
        # A row about the tar itself.
        return path

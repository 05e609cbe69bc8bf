"""Other datasets that are made from the same source files, and may still need them."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pyarrow.parquet as pq

from medassets.datasets.places import read_places
from medassets.datasets.source_files import open_source_folder
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.shards.catalog import read_partition
from medassets.shards.previous import explain_unreadable
from medassets.shards.writer import read_whole_record
from medassets.sources.base import Source
from medassets.sources.folder import FolderSource
from medassets.sources.webdataset import WebDatasetSource
from medassets.specs import CTSourceSpec
from medassets.storage.checksums import canonical_json
from medassets.storage.paths import DatasetPaths

_ORIGIN_KEY = b"medassets.origin"


def describe_origin(workspace: Workspace) -> dict[bytes, bytes]:
    """Return what the footer of a catalog says of the folder it was made from; of a hub, nothing.

    The folder stands there as a digest: catalogs are published with their datasets, and may not name
    places of this machine.
    """
    spec = workspace.kind.spec
    if not isinstance(spec, CTSourceSpec) or not workspace.source.is_local:
        return {}
    origin = {
        "folder": _digest(open_source_folder(workspace).resolve()),
        "source": spec.source,
        "stage": workspace.kind.stage,
    }
    return {_ORIGIN_KEY: canonical_json(origin)}


@dataclass(frozen=True)
class OtherDataset:
    """A dataset under the same root, made from files of this machine.

    Attributes:
        paths: Where it lies.
        folder: Digest of the folder of its source.
        source: Reads the paths of its catalog; not its files.
    """

    paths: DatasetPaths
    folder: str
    source: Source
    _unmade: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def find_claim(self, place: Path) -> str:
        """Return why the dataset still needs a file; empty if it does not.

        Args:
            place: The file, with the links of its folder resolved.

        Raises:
            CatalogError: If the catalog cannot be read.
        """
        top = next((parent for parent in place.parents if _digest(parent) == self.folder), None)
        if top is None:
            return ""
        path = place.relative_to(top).as_posix()
        places = read_places(self.paths.catalog, self.source).get(path)
        if places is None:
            return ""
        waits = next((key for key in places.partitions if path in self._find_unmade(key)), None)
        if waits is None and not places.num_held:
            return ""
        what = f"has not made {waits} yet" if waits else "still holds a sample of it back (--limit)"
        return (
            f"the dataset {self.paths.dataset} is made from it, too, and {what}; "
            f"`{self.paths.build_command}` makes it. If that dataset is given up, remove "
            f"{self.paths.catalog}"
        )

    def _find_unmade(self, partition_key: str) -> set[str]:
        """Return the files of which a planned sample is not in its shard, nor rejected by it."""
        if partition_key not in self._unmade:
            record = read_whole_record(self.paths, partition_key)
            known = {one.key for one in (*record.samples, *record.rejected)} if record else set()
            self._unmade[partition_key] = {
                self.source.physical_path(item.path)
                for item in read_partition(self.paths.catalog, partition_key)
                if item.key not in known
            }
        return self._unmade[partition_key]


def find_claim(others: Iterable[OtherDataset], place: Path) -> str:
    """Return why one of several datasets still needs a file; empty if none does.

    Args:
        others: Those beside the one that would delete it.
        place: The file, with the links of its folder resolved.

    Raises:
        CatalogError: If a catalog cannot be read.
    """
    return next(filter(None, (other.find_claim(place) for other in others)), "")


def find_other_datasets(workspace: Workspace) -> list[OtherDataset]:
    """Return the planned datasets beside this one whose sources are files of this machine.

    Raises:
        CatalogError: If a catalog cannot be read: what it needs is not known then.
    """
    own = workspace.paths
    found: list[OtherDataset] = []
    for catalog in sorted(own.root.glob("*/catalog.parquet")):
        origin = _read_origin(catalog)
        if catalog == own.catalog or origin is None:
            continue
        reads_tars = origin["source"] == "webdataset"
        source = WebDatasetSource(Path()) if reads_tars else FolderSource(Path())
        paths = DatasetPaths(own.root, catalog.parent.name, origin["stage"])
        found.append(OtherDataset(paths, origin["folder"], source))
    return found


def check_planned(workspace: Workspace) -> None:
    """Refuse to delete from folders of which another declared dataset may want anything.

    Raises:
        ReclaimError: If one that reads the same folders was never planned from there.
    """
    name, root = workspace.kind.spec.name, workspace.paths.root
    own = [Path(folder).expanduser().resolve() for folder in workspace.declared.get(name, ())]
    for other, folders in workspace.declared.items():
        places = [Path(folder).expanduser().resolve() for folder in folders]
        shared = [place for place in places if any(_overlap(place, one) for one in own)]
        if other != name and shared and not _is_planned(root / other / "catalog.parquet", places):
            msg = (
                f"the dataset {other} is declared over the same files ({shared[0]}), and no plan says "
                f"yet what it needs of them; `medassets build {other}` plans and makes it. If it is "
                f"given up, take its declaration away"
            )
            raise ReclaimError(msg)


def _is_planned(catalog: Path, places: Sequence[Path]) -> bool:
    """Tell whether a catalog was made from a folder that holds one of the places."""
    if not catalog.exists():
        return False
    origin = _read_origin(catalog)
    tops = {top for place in places for top in (place, *place.parents)}
    return origin is not None and origin["folder"] in map(_digest, tops)


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)


def _read_origin(catalog: Path) -> dict[str, str] | None:
    stat = catalog.stat()
    return _read_footer(catalog, (stat.st_ino, stat.st_mtime_ns))


@lru_cache(maxsize=64)
def _read_footer(catalog: Path, _version: tuple[int, int]) -> dict[str, str] | None:
    with explain_unreadable(catalog):
        metadata = pq.read_schema(catalog).metadata or {}
    return json.loads(metadata[_ORIGIN_KEY]) if _ORIGIN_KEY in metadata else None


@lru_cache(maxsize=4096)
def _digest(folder: Path) -> str:
    return hashlib.sha256(os.fsencode(folder)).hexdigest()

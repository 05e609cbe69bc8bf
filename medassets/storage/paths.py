"""Paths of a dataset's folders and shards, and of the home of an instance."""

import math
import os
import re
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from medassets.errors import CatalogError, UsageError
from medassets.stages import VideoStage, VolumeStage

_PARTITION_KEY = re.compile(r"([a-z0-9]+)-([0-9]{6})")
# `pathlib` leaves one slash of `s3://bucket`.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


# A look at ten thousand shards asks sixteen times for each.
@lru_cache(maxsize=1 << 15)
def split_partition_key(key: str) -> tuple[str, int]:
    """Split a partition key into split and shard index.

    Raises:
        CatalogError: If the key is not ``<split>-<six digits>``.
    """
    match = _PARTITION_KEY.fullmatch(key)
    if match is None:
        msg = f"partition key: expected '<split>-<six digits>' such as valid-000000, got {key!r}"
        raise CatalogError(msg)
    return match[1], int(match[2])


def format_partition_key(split: str, index: int) -> str:
    """Return the partition key of one shard, ``<split>-<six digits>``.

    Raises:
        CatalogError: If split or index cannot be part of a partition key.
    """
    key = f"{split}-{index:06d}"
    if split_partition_key(key) != (split, index):
        msg = f"partition key: {split = } and {index = } do not make a partition key"
        raise CatalogError(msg)
    return key


def name_shard(partition_key: str) -> str:
    """Return the name of a shard's files without suffix, `shard-<six digits>`.

    Raises:
        CatalogError: If the key is not ``<split>-<six digits>``.
    """
    return f"shard-{split_partition_key(partition_key)[1]:06d}"


def check_member_path(path: str) -> str:
    """Return a path inside a source if it is safe to join to a local folder.

    Args:
        path: Path as a table or a listing of the source names it; hostile until checked here.

    Raises:
        CatalogError: If the path is empty or absolute, has a part ``.``, ``..`` or nothing, holds a
            backslash or a control character, or is not UTF-8.
    """
    if show_path(path) != path:
        msg = f"path in source: expected a name in UTF-8, got '{show_path(path)}'; rename it"
        raise CatalogError(msg)
    parts = path.split("/")
    if _CONTROL.search(path) or "\\" in path or any(part in ("", ".", "..") for part in parts):
        msg = f"path in source: expected relative parts joined by '/', got {path!r}"
        raise CatalogError(msg)
    return path


def show_path(path: str) -> str:
    """Return a path as tables can hold it: bytes that are not UTF-8 become backslash escapes.

    Args:
        path: Path as the system names it, with surrogates for such bytes.
    """
    return path.encode("utf-8", "backslashreplace").decode()


def local_path(text: str | Path, *, field: str) -> Path:
    """Return a path of this machine as an absolute one.

    Args:
        text: What the user wrote; a URL would become a folder `s3:` in the current one.
        field: Where it was written, for the message.

    Raises:
        UsageError: If it is a URL.
    """
    if _URL.match(str(text)):
        what = f"expected a folder or file of this machine, got the URL {str(text)!r}"
        raise UsageError(field=field, what=what)
    return Path(text).absolute()


def medassets_home() -> Path:
    """Return the folder of data, staging and the Dagster instance: $MEDASSETS_HOME or ~/medassets.

    Read at every call, so that importing the package never touches the environment.

    Raises:
        UsageError: If the variable is a URL.
    """
    own = os.environ.get("MEDASSETS_HOME")
    return local_path(own or Path.home() / "medassets", field="MEDASSETS_HOME")


def data_home() -> Path:
    """Return the default root of published datasets."""
    return medassets_home() / "data"


def staging_home() -> Path:
    """Return the default folder of staged source files."""
    return medassets_home() / "staging"


def declarations_home() -> Path:
    """Return the folder of declarations that `medassets init` writes; it is always searched."""
    return medassets_home() / "defs"


def dagster_home() -> Path:
    """Return the default folder of the Dagster instance."""
    return medassets_home() / "dagster"


@dataclass(frozen=True)
class DatasetPaths:
    """Names of every file of one published dataset.

    Attributes:
        root: Folder that holds datasets.
        dataset: Name of the dataset; its folder in `root`.
        stage: Stage whose shards are meant. Those of `shards` are directly in the dataset's folder,
            as training code expects them; any other stage has a folder of its own.
    """

    root: Path
    dataset: str
    stage: str = VolumeStage.SHARDS

    def __post_init__(self) -> None:
        """Refuse a name that would leave the root."""
        for field, name in (("dataset", self.dataset), ("stage", self.stage)):
            if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]*", name):
                msg = f"{field}: expected letters, digits, _ and -, got {name!r}"
                raise CatalogError(msg)

    @property
    def folder(self) -> Path:
        """Folder of the dataset."""
        return self.root / self.dataset

    @property
    def build_command(self) -> str:
        """The command that makes the stage's shards, as a user types it."""
        # A whole build of a dataset that keeps no clips makes none.
        mode = " --mode clip" if self.stage == VideoStage.CLIPS else ""
        return f"medassets build {self.dataset}{mode}"

    def allow_command(self, field: str, share: float) -> str:
        """Return the build command that accepts the loss of a share of the items.

        Args:
            field: `max_excluded_share` or `max_rejected_share`.
            share: Share that is lost, in (0, 1]; hundredths are rounded up.
        """
        # One of eight items is 0.125, which floating point may make a little more.
        hundredths = math.ceil(round(share * 100, 6))
        return f"{self.build_command} --set {field}={hundredths / 100:g}"

    @property
    def reconcile_command(self) -> str:
        """The command that brings catalog and Dagster in line with the disk, as a user types it."""
        return f"medassets reconcile {self.dataset}"

    @property
    def catalog(self) -> Path:
        """The catalog, one Parquet file."""
        return self.folder / "catalog.parquet"

    @property
    def catalog_lock(self) -> Path:
        """Lock held while the catalog is replaced, or must not be replaced."""
        return self.folder / ".catalog.lock"

    @property
    def stage_folder(self) -> Path:
        """Folder of the folders of the stage's splits."""
        return self.folder if self.stage == VolumeStage.SHARDS else self.folder / self.stage

    @property
    def attempts(self) -> Path:
        """Journal of what automation tried, of all stages."""
        return self.folder / ".attempts.jsonl"

    @property
    def automation_switch(self) -> Path:
        """What `medassets automate` said, if it did; it wins over the declaration."""
        return self.folder / ".automation.json"

    def split_folder(self, split: str) -> Path:
        """Return the folder of one split's shards."""
        # Joined once: a look at ten thousand shards asks for it forty thousand times.
        return _split_folder(self, split)

    def shard(self, partition_key: str) -> Path:
        """Return the path of a published shard."""
        split, _ = split_partition_key(partition_key)
        return self.split_folder(split) / f"{name_shard(partition_key)}.tar"

    def record(self, partition_key: str) -> Path:
        """Return the path of the record beside a shard."""
        split, index = split_partition_key(partition_key)
        return self.split_folder(split) / f"shard-{index:06d}.json"

    def reclaim_journal(self, partition_key: str) -> Path:
        """Return the path of the journal of a shard's deleted sources.

        It is not in the folder of the shards: a user who removes a shard to make it again must not
        remove the note that its sources are deleted.
        """
        split, index = split_partition_key(partition_key)
        return self.reclaim_journals / split / f"shard-{index:06d}.jsonl"

    @property
    def reclaim_journals(self) -> Path:
        """Folder of the journals of deleted sources; exists once a run was allowed to delete any."""
        return self.folder / VolumeStage.RECLAIMED_SOURCES

    def manifest(self, split: str) -> Path:
        """Return the path of a split's manifest."""
        return self.split_folder(split) / "manifest.json"

    def wids_index(self, split: str) -> Path:
        """Return the path of a split's `wids-shard-index-v1` index."""
        return self.split_folder(split) / "index.json"


@cache
def _split_folder(paths: DatasetPaths, split: str) -> Path:
    split_partition_key(f"{split}-000000")
    return paths.stage_folder / split

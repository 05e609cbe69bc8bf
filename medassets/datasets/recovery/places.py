"""The places of a stage's shards on disk, whatever a plan says of them."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from medassets.errors import ShardIntegrityError
from medassets.shards.files import explain_place
from medassets.shards.record import ShardRecord, is_record_of
from medassets.stages import VideoStage, VolumeStage
from medassets.storage.ownership import is_plain_file
from medassets.storage.paths import DatasetPaths, format_partition_key, split_partition_key

_SPLIT = re.compile(r"[a-z0-9]+")
_SHARD = re.compile(r"shard-([0-9]{6})\.(?:tar|json)")


@dataclass(frozen=True)
class FoundShard:
    """What is at the place of one shard.

    Attributes:
        paths: Paths of the dataset and stage.
        place: Partition key that belongs to the place.
        has_tar: Whether a regular file is at the place of the tar.
        record: Its record, None if there is none or it cannot be read.
        trouble: Why the record is not usable here; empty if it is that of this place.
    """

    paths: DatasetPaths
    place: str
    has_tar: bool
    record: ShardRecord | None = field(repr=False)
    trouble: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether the record is the one of this place and agrees with itself."""
        return self.record is not None and not self.trouble

    @property
    def is_misplaced(self) -> bool:
        """Whether the record is that of another shard of the same dataset."""
        record = self.record
        return (
            record is not None
            and record.dataset == self.paths.dataset
            and record.partition != self.place
            and not any(record.find_contradictions())
        )

    @property
    def shard(self) -> Path:
        """Path of the tar."""
        return self.paths.shard(self.place)

    def list_keys(self) -> list[str]:
        """Return the keys of its samples and rejected items."""
        if self.record is None:
            return []
        return [entry.key for entry in (*self.record.samples, *self.record.rejected)]


def look_at_place(paths: DatasetPaths, place: str) -> FoundShard:
    """Return what is at the place of one shard.

    Args:
        paths: Paths of the dataset and stage.
        place: Partition key of the place.
    """
    has_tar, record, trouble = is_plain_file(paths.shard(place)), None, ""
    try:
        record = ShardRecord.read(paths.record(place))
    except FileNotFoundError:
        trouble = "it has no record"
    except ShardIntegrityError as error:
        trouble = str(error)
    if record is not None:
        trouble = explain_place(paths, place, record) or next(record.find_contradictions(), "")
    return FoundShard(paths, place, has_tar, record, trouble)


def list_places(paths: DatasetPaths) -> list[str]:
    """Return the partition keys of all places of a stage with a tar or a record, in order."""
    found: set[str] = set()
    for folder in list_split_folders(paths):
        with suppress(OSError):
            names = (_SHARD.fullmatch(path.name) for path in folder.iterdir())
            found |= {format_partition_key(folder.name, int(name[1])) for name in names if name}
    return sorted(found, key=split_partition_key)


def list_stages(paths: DatasetPaths) -> list[DatasetPaths]:
    """Return the paths of all stages that may have shards of a dataset: they share its plan."""
    names = (VolumeStage.SHARDS, VolumeStage.WINDOWS, VideoStage.CLIPS, VideoStage.FRAMES)
    return [replace(paths, stage=name) for name in names]


def has_shards(paths: DatasetPaths) -> bool:
    """Tell whether any stage has a record of a shard of this dataset, perhaps a damaged one."""
    return any(_iter_records(paths))


def count_records(paths: DatasetPaths) -> int:
    """Return the number of shards, of all stages, whose record names this dataset."""
    return sum(1 for _ in _iter_records(paths))


def _iter_records(paths: DatasetPaths) -> Iterator[str]:
    for stage in list_stages(paths):
        for place in list_places(stage):
            found = look_at_place(stage, place)
            if found.record is not None:
                is_ours = found.record.dataset == paths.dataset
            else:
                is_ours = is_record_of(paths.dataset, place)(stage.record(place))
            if is_ours:
                yield place


def list_split_folders(paths: DatasetPaths) -> list[Path]:
    """Return the folders of a stage that may be those of a split, in order.

    One may be a link to a folder of another disk, as the folders above it.
    """
    top = paths.stage_folder
    with suppress(OSError):
        found = (path for path in sorted(top.iterdir()) if _SPLIT.fullmatch(path.name))
        return [folder for folder in found if folder.is_dir()]
    return []

"""Tells files that were deleted from a source that is away: an outage counts against no sample."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from medassets.datasets.upstream.built_samples import Stage
from medassets.datasets.workspace import Workspace
from medassets.errors import ABSENT_REASONS, Reason, SampleRejectedError, SourceUnavailableError
from medassets.samples import Encode, Encoded, SourceItem, Staged, StagedFile
from medassets.shards.record import Rejected, ShardRecord
from medassets.storage.paths import split_partition_key

_DOUBTED = ABSENT_REASONS | {Reason.UNREADABLE_SOURCE}
_NOISE = frozenset({"lost+found"})


def has_content(folder: Path) -> bool:
    """Return whether a folder is there and holds more than what an empty disk holds."""
    try:
        return not _is_bare(folder) and folder.is_dir()
    except OSError:
        return False


def find_outage(workspace: Workspace, partition_key: str, items: Iterable[SourceItem]) -> str:
    """Return what shows that the place of missing files is away; empty if none is, or it answers.

    A file is deleted only where the place that held it answers: another file of the shard is there, or
    the folder of the split's files holds anything. A folder of most of the shard's files that is empty is taken for one that is not mounted; that of a
    patient may have been emptied.

    Args:
        workspace: A dataset.
        partition_key: A shard.
        items: Rows of it whose files may be missing.
    """
    if workspace.source.folder is None:
        return ""
    places = _Places(workspace, partition_key)
    return next(filter(None, (places.judge(item) for item in items)), "")


def find_returned(
    workspace: Workspace, partition_key: str, rejected: Iterable[Rejected]
) -> list[str]:
    """Return the keys of samples that were rejected because their files were missing, and are there now.

    A revision keeps its files, so a file that one lacks never comes.

    Args:
        workspace: A dataset.
        partition_key: A shard.
        rejected: Its rejected items, as its record or the note of its failure lists them.

    Raises:
        CatalogError: If the plan does not know the shard.
    """
    keys = {one.key for one in rejected if one.reason == Reason.MISSING_UPSTREAM}
    if not keys or workspace.source.pinned:
        return []
    items = [item for item in workspace.read_partition(partition_key) if item.key in keys]
    return [item.key for item in items if _is_described(workspace, item)]


def find_completing(workspace: Workspace, record: ShardRecord) -> list[str]:
    """Return the keys of samples that a shard would gain by being made again; see `find_returned`.

    There are none while the file of a sample that it holds is missing: that must not be lost for another.

    Raises:
        CatalogError: If the plan does not know the shard.
    """
    returned = find_returned(workspace, record.partition, record.rejected)
    if not returned:
        return []
    held = {sample.key for sample in record.samples}
    items = [item for item in workspace.read_partition(record.partition) if item.key in held]
    return returned if all(_is_described(workspace, item) for item in items) else []


@dataclass(frozen=True)
class Watch:
    """Looks, before a sample is rejected for lack of its file, whether the source answers at all.

    Attributes:
        workspace: The dataset.
        partition_key: The shard.
    """

    workspace: Workspace
    partition_key: str

    def staging(self, stage: Stage) -> Stage:
        """Return a staging that ends the shard where files are missing because of an outage."""

        def stage_and_look(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
            staged = stage(items)
            for item in items:
                self._look(item, staged[item.key])
            return staged

        return stage_and_look

    def encoding(self, encode: Encode) -> Encode:
        """Return an encoder that ends the shard where files vanish because of an outage."""

        def encode_and_look(items: Sequence[SourceItem], file: StagedFile) -> Sequence[Encoded]:
            try:
                encoded = encode(items, file)
            except SampleRejectedError as error:
                self._look(items[0], error)
                raise
            for item, one in zip(items, encoded, strict=False):
                self._look(item, one)
            return encoded

        return encode_and_look

    def _look(self, item: SourceItem, found: object) -> None:
        """Look where the file of an item is missing; a revision that lacks one lacks it for good.

        Raises:
            SourceUnavailableError: If its place is away, or it is there by now.
        """
        if not isinstance(found, SampleRejectedError) or found.reason not in _DOUBTED:
            return
        if self.workspace.source.pinned:
            return
        away = find_outage(self.workspace, self.partition_key, [item])
        if not away and found.reason is Reason.MISSING_UPSTREAM:
            away = "it is there again" if _is_described(self.workspace, item) else ""
        if away:
            msg = (
                f"{self.partition_key}: {item.path} is missing or cannot be read, but {away}. That is taken "
                f"for an outage of the source, so {item.key} is not rejected; what was made is kept. Make "
                f"the source available and build again"
            )
            raise SourceUnavailableError(msg) from found


class _Places:
    """The files of one shard in a local source."""

    def __init__(self, workspace: Workspace, partition_key: str) -> None:
        assert workspace.source.folder is not None
        self._workspace, self._key, self._top = workspace, partition_key, workspace.source.folder

    def judge(self, item: SourceItem) -> str:
        """Return what shows that the place of an item's missing files is away; empty if nothing does."""
        own = self._list_paths(item)
        missing = [path for path in own if not self._is_there(path)]
        return next(filter(None, (self._judge(path, own) for path in missing)), "")

    def _judge(self, path: str, own: Sequence[str]) -> str:
        others = [other for other in self._list_shard(self._key) if other not in own]
        for parent in PurePosixPath(path).parents:
            beneath = [other for other in others if PurePosixPath(other).is_relative_to(parent)]
            if any(self._is_there(other) for other in beneath):
                return ""
            if 2 * len(beneath) > len(others) and _is_bare(self._top / parent):
                return f"the folder {self._top / parent} is empty, or does not answer"
        # A copy that was never complete has whole shards without a file, and yet its place answers.
        place = self._top / self._find_common(path)
        if has_content(place):
            return ""
        return f"no file of this shard is there, and nothing else in {place}"

    def _find_common(self, path: str) -> PurePosixPath:
        """Return the folder that holds a file and those of the first and last shard of its split."""
        split, _ = split_partition_key(self._key)
        keys = self._workspace.read_plan().splits().get(split, (self._key,))
        ends = [*self._list_shard(keys[0]), *self._list_shard(keys[-1])]
        # Of each file its folder: that of a single file is the place as well.
        folders = [PurePosixPath(other).parent for other in (path, *ends)]
        return PurePosixPath(os.path.commonpath(folders))

    def _list_shard(self, key: str) -> list[str]:
        items = self._workspace.read_partition(key)
        return [path for item in items for path in self._list_paths(item)]

    def _list_paths(self, item: SourceItem) -> list[str]:
        source = self._workspace.source
        return [source.physical_path(path) for path in self._workspace.list_paths(item)]

    def _is_there(self, path: str) -> bool:
        try:
            (self._top / path).stat()
        except PermissionError:
            return True
        except OSError:
            return False
        return True


def _is_bare(folder: Path) -> bool:
    """Return whether a folder is there with nothing but what an empty disk holds, or does not answer."""
    try:
        with os.scandir(folder) as entries:
            return all(entry.name in _NOISE or entry.name.startswith(".") for entry in entries)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False
    except OSError:
        return True


def _is_described(workspace: Workspace, item: SourceItem) -> bool:
    paths = set(workspace.list_paths(item))
    return workspace.source.describe(sorted(paths), revision=item.revision).keys() >= paths

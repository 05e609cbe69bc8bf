"""Samples of shards on disk: which rows they were made from, and how to use them again."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from medassets.datasets.workspace import Workspace
from medassets.samples import Encode, Encoded, EncodedSample, SourceItem, Staged, StagedFile
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.files import read_whole_record
from medassets.shards.fingerprint import plan_fingerprint
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import parse_json
from medassets.tars.reader import OpenTar, open_tar

Stage = Callable[[Sequence[SourceItem]], Mapping[str, Staged]]
"""Brings items' files to the local disk; by sample key."""

ReadItems = Callable[[str], Sequence[SourceItem]]
"""Returns the rows of a shard, by its partition key."""

_Built = tuple[bool, bool, tuple[int, str] | None]


@dataclass(frozen=True)
class BuiltRows:
    """Which planned rows have a sample in a whole shard; arrays in the order of the plan.

    Attributes:
        is_made: The shard has what a build would make of the row today: its sample or rejection.
        is_held: The shard has a sample of that key, however it was made.
        digests: Size and SHA-256 of the file that the sample was made of; None without a sample.
    """

    is_made: npt.NDArray[np.bool_]
    is_held: npt.NDArray[np.bool_]
    digests: Sequence[tuple[int, str] | None]


def find_built_rows(workspace: Workspace, plan: CatalogPlan, read: ReadItems) -> BuiltRows:
    """Return which rows of a plan have been built.

    Args:
        workspace: The dataset.
        plan: The plan; its catalog may be one that is not on disk yet.
        read: Returns the rows of a shard of that plan.
    """
    pieces = [_find_in_shard(workspace, plan, key, read) for key in plan.partitions]
    return BuiltRows(
        is_made=np.array([row[0] for piece in pieces for row in piece], bool),
        is_held=np.array([row[1] for piece in pieces for row in piece], bool),
        digests=[row[2] for piece in pieces for row in piece],
    )


def _find_in_shard(
    workspace: Workspace, plan: CatalogPlan, partition_key: str, read: ReadItems
) -> list[_Built]:
    record = read_whole_record(workspace.paths, partition_key)
    if record is None:
        return [(False, False, None)] * plan.partitions[partition_key]
    today = plan_fingerprint(workspace.kind.fingerprint(), plan.digests[partition_key])
    is_current = record.plan_fingerprint == today
    items = read(partition_key)
    made = {} if is_current else find_reusable(workspace, record, items)
    entries = {entry.key: entry for entry in record.samples}
    return [
        (is_current or item.key in made, item.key in entries, _read_digest(entries.get(item.key)))
        for item in items
    ]


def _read_digest(entry: SampleEntry | None) -> tuple[int, str] | None:
    facts = entry.facts if entry is not None else {}
    if not {"source_bytes", "source_sha256"} <= facts.keys():
        return None
    return facts["source_bytes"], f"sha256:{facts['source_sha256']}"


def find_reusable(
    workspace: Workspace, record: ShardRecord, items: Sequence[SourceItem]
) -> dict[str, SampleEntry]:
    """Return the samples of a shard that a build would make again to the same bytes, by key.

    That is so where a revision fixes the bytes of a file, and the sample's json names the same
    file, row and processing.

    Args:
        workspace: The dataset.
        record: The shard, whole on disk.
        items: Rows of the plan.
    """
    if not workspace.source.pinned:
        return {}
    wanted = {item.key: item for item in items}
    found: dict[str, SampleEntry] = {}
    with open_tar(workspace.paths.shard(record.partition)) as tar:
        for entry in record.samples:
            item = wanted.get(entry.key)
            if item is not None and workspace.kind.is_sample_of(item, _read_json(tar, entry)):
                found[entry.key] = entry
    return found


def _read_json(tar: OpenTar, entry: SampleEntry) -> Mapping[str, object]:
    members = [member for member in entry.members if member.suffix == "json"]
    document = parse_json(tar.read(members[0])) if members else {}
    return document if isinstance(document, dict) else {}


def open_built(
    workspace: Workspace, partition_key: str, items: Sequence[SourceItem]
) -> "BuiltSamples":
    """Return the samples that the next version of a shard takes over from the one on disk.

    Args:
        workspace: The dataset.
        partition_key: The shard.
        items: Its rows of the plan.
    """
    record = read_whole_record(workspace.paths, partition_key) if items else None
    entries = find_reusable(workspace, record, items) if record is not None else {}
    # A file with an item that has to be made is opened as usual.
    opened = {item.path for item in items if item.key not in entries}
    kept = {item.key: entries[item.key] for item in items if item.path not in opened}
    return BuiltSamples(workspace.paths.shard(partition_key), kept)


@dataclass(frozen=True)
class BuiltSamples:
    """Samples that a new version of a shard takes over from the one on disk.

    Attributes:
        shard: The tar on disk; it is replaced after the new one is whole.
        entries: Its samples to take over, by key.
    """

    shard: Path
    entries: Mapping[str, SampleEntry]

    def staging(self, stage: Stage) -> Stage:
        """Return a function that brings only the files of other items to the local disk."""
        return partial(self._stage, stage) if self.entries else stage

    def encoding(self, encode: Encode) -> Encode:
        """Return a function that encodes only other items."""
        return partial(self._encode, encode) if self.entries else encode

    def _stage(self, stage: Stage, items: Sequence[SourceItem]) -> dict[str, Staged]:
        others = [item for item in items if item.key not in self.entries]
        staged = stage(others) if others else {}
        held = StagedFile(self.shard, uri="", revision=None, num_bytes=0, sha256="")
        return {item.key: staged.get(item.key, held) for item in items}

    def _encode(
        self, encode: Encode, items: Sequence[SourceItem], staged: StagedFile
    ) -> Sequence[Encoded]:
        if items[0].key not in self.entries:
            return encode(items, staged)
        with open_tar(self.shard) as tar:
            return [_read_sample(tar, self.entries[item.key]) for item in items]


def _read_sample(tar: OpenTar, entry: SampleEntry) -> EncodedSample:
    members = tuple((member.suffix, tar.read(member)) for member in entry.members)
    return EncodedSample(key=entry.key, members=members, facts=entry.facts)

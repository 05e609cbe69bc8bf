"""Work on one shard whose encoder counts its calls or fails, and the files that it makes."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from medassets.errors import SampleRejectedError
from medassets.samples import Encoded, EncodedSample, SourceItem, StagedFile
from medassets.shards.writer import ShardWork
from medassets.storage.paths import DatasetPaths

MakeWork = Callable[..., ShardWork]
KEY = "train-000000"


def read_files(paths: DatasetPaths) -> dict[str, bytes]:
    """Return all files beside the shard by name, private ones too."""
    return {p.name: p.read_bytes() for p in sorted(paths.split_folder("train").iterdir())}


def encode_one(work: ShardWork, item: SourceItem, staged: StagedFile) -> EncodedSample:
    """Return the sample that the work makes of an item."""
    (encoded,) = work.encode([item], staged)
    if isinstance(encoded, SampleRejectedError):
        raise encoded
    return encoded


def count_encoded(work: ShardWork, calls: list[str]) -> ShardWork:
    """Return the work with an encoder that appends the key of each item to `calls`."""

    def encode(items: Sequence[SourceItem], staged: StagedFile) -> Sequence[Encoded]:
        calls.extend(item.key for item in items)
        return work.encode(items, staged)

    return replace(work, encode=encode)


def fail_at(work: ShardWork, key: str, error: Exception) -> ShardWork:
    """Return the work with an encoder that raises an error for one item."""

    def encode(items: Sequence[SourceItem], staged: StagedFile) -> Sequence[Encoded]:
        if key in [item.key for item in items]:
            raise error
        return work.encode(items, staged)

    return replace(work, encode=encode)

"""Small samples of no particular kind, and what makes shards of them."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.writer import ShardWork
from medassets.storage.paths import DatasetPaths

MakeItems = Callable[..., tuple[SourceItem, ...]]


def encode_item(item: SourceItem, staged: StagedFile) -> EncodedSample:
    """Return members that depend on the key alone; sizes are no multiple of a tar block."""
    if item.row.get("bad"):
        raise SampleRejectedError(Reason.BAD_HEADER, f"{item.path} is bad")
    data = random.Random(item.key).randbytes(3000 + 7 * len(item.key) + 11 * item.row["index"])
    members = (("bin", data), ("txt", b""), ("json", b'{"key": "%s"}' % item.key.encode()))
    return EncodedSample(item.key, members, facts={"index": item.row["index"], "share": 0.1})


def stage_items(items: Sequence[SourceItem]) -> Mapping[str, StagedFile | SampleRejectedError]:
    """Return files that need not exist; the encoder above does not read them."""
    return {
        item.key: SampleRejectedError(Reason.MISSING_UPSTREAM, f"{item.path} is gone")
        if item.row.get("gone")
        else StagedFile(Path(item.path), item.path, item.revision, 1, "00")
        for item in items
    }


@pytest.fixture
def make_items() -> MakeItems:
    """Return a function that makes so many catalog rows; `bad` and `gone` are rejected."""

    def make(
        count: int, *, bad: Sequence[int] = (), gone: Sequence[int] = ()
    ) -> tuple[SourceItem, ...]:
        rows: list[dict[str, Any]] = [
            {"index": i, "bad": i in bad, "gone": i in gone} for i in range(count)
        ]
        return tuple(
            SourceItem(f"a_{i:03d}", "train", f"data/a_{i:03d}.raw", "rev", row)
            for i, row in enumerate(rows)
        )

    return make


@pytest.fixture
def paths(tmp_path: Path) -> DatasetPaths:
    """Names of an empty dataset."""
    return DatasetPaths(tmp_path / "data", "tiny")


@pytest.fixture
def make_work(make_items: MakeItems) -> Callable[..., ShardWork]:
    """Return a function that makes the work of one shard; any field can be replaced."""

    def make(**changes: Any) -> ShardWork:
        fields = {
            "dataset": "tiny",
            "partition_key": "train-000000",
            "items": make_items(12, bad=(3,), gone=(7,)),
            "plan_fingerprint": "plan",
            "stage": stage_items,
            "encode": each_item(encode_item),
            "source": {"uri": "test://source", "revision": "rev"},
            "max_rejected_share": 0.5,
            "num_workers": 2,
        }
        return ShardWork(**{**fields, **changes})

    return make

"""Tar and record are published together; a kill in between is finished or undone."""

from collections.abc import Callable

import pytest

from medassets.shards.files import pending_record, previous_record
from medassets.shards.publication import finish_publication
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths

KEY = "train-000000"


@pytest.fixture
def published(paths: DatasetPaths, make_work: Callable[..., ShardWork]) -> bytes:
    """A published shard; the bytes of its record."""
    ensure_shard(paths, make_work())
    return paths.record(KEY).read_bytes()


def test_a_record_that_waited_for_its_tar_takes_its_place(
    paths: DatasetPaths, published: bytes
) -> None:
    paths.record(KEY).rename(pending_record(paths.shard(KEY)))
    finish_publication(paths, KEY)
    assert paths.record(KEY).read_bytes() == published


def test_the_old_record_returns_if_its_tar_was_not_replaced(
    paths: DatasetPaths, published: bytes
) -> None:
    shard = paths.shard(KEY)
    paths.record(KEY).rename(previous_record(shard))
    pending_record(shard).write_bytes(published.replace(b'"sha256": "', b'"sha256": "0', 1))
    finish_publication(paths, KEY)
    assert paths.record(KEY).read_bytes() == published
    assert not pending_record(shard).exists()


def test_without_a_killed_publication_nothing_changes(
    paths: DatasetPaths, published: bytes
) -> None:
    finish_publication(paths, KEY)
    assert paths.record(KEY).read_bytes() == published

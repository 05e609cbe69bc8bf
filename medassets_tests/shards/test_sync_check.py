"""Written samples are read back from the disk before a shard is published."""

import os
from pathlib import Path

import pytest

from medassets.errors import (
    ShardIntegrityError,
)
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import MakeWork, read_files


def test_a_disk_that_returns_other_bytes_publishes_nothing(
    paths: DatasetPaths, make_work: MakeWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fdatasync

    def flip_then_sync(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink().suffix == ".partial":
            os.pwrite(fd, b"\xff", 700)
        real(fd)

    monkeypatch.setattr(os, "fdatasync", flip_then_sync)
    with pytest.raises(ShardIntegrityError, match=r"a_000: member \.bin is damaged"):
        ensure_shard(paths, make_work())
    assert read_files(paths) == {}

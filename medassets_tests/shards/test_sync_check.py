"""Written samples are read back from the disk before a shard is published."""

import os
from pathlib import Path

import pytest

from medassets.errors import (
    ShardIntegrityError,
)
from medassets.shards.record import Rejected, SampleEntry, ShardRecord
from medassets.shards.sync_check import SyncCheck
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets.tars.reader import open_tar
from medassets_tests.shards.works import KEY, MakeWork, read_files


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


def _write(paths: DatasetPaths, make_work: MakeWork) -> ShardRecord:
    return ensure_shard(paths, make_work()).record


def test_each_outcome_is_checked_once_and_the_rest_at_the_end(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    record = _write(paths, make_work)
    outcomes: list[SampleEntry | Rejected] = []
    with open_tar(paths.shard(KEY)) as tar, SyncCheck(tar, outcomes) as check:
        for outcome in (*record.rejected, *record.samples):
            outcomes.append(outcome)
            check.follow()
        assert check.finish() == []
        assert check.finish() == []


def test_damage_is_listed_by_sample_and_earlier_outcomes_are_not_read_again(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    record = _write(paths, make_work)
    with paths.shard(KEY).open("r+b") as file:
        for sample in (record.samples[0], record.samples[5]):
            file.seek(sample.members[0].offset)
            file.write(b"\xff\x00\xff\x00")
    for num_checked, keys in ((0, ["a_000", "a_006"]), (1, ["a_006"]), (6, [])):
        with (
            open_tar(paths.shard(KEY)) as tar,
            SyncCheck(tar, record.samples, num_checked=num_checked) as check,
        ):
            found = check.finish()
        assert [damage.split(": member .bin is damaged")[0] for damage in found] == keys

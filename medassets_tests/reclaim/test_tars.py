"""Tars as sources: one goes only when every sample of it is in a whole shard."""

import os
from pathlib import Path

import numpy as np
import pytest

from medassets.datasets.build import plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.errors import ReclaimError
from medassets.reclaim.disk_peak import estimate_peak
from medassets.reclaim.partition import is_reclaimed
from medassets_tests.reclaim.tars import Tars, make_sample, write_tar


@pytest.fixture
def tars(tmp_path: Path) -> Tars:
    return Tars(tmp_path, 2)


def test_a_tar_of_several_shards_goes_with_the_last_of_them(tars: Tars) -> None:
    tars.write([5, 3])
    keys = tars.build()
    assert len(keys) == 4
    deleted = {key: [d.path for d in tars.reclaim(key).deleted] for key in keys}
    # The third shard holds the fifth sample and the first one of the second tar.
    assert deleted == {
        keys[0]: [],
        keys[1]: [],
        keys[2]: ["shard-000000.tar"],
        keys[3]: ["shard-000001.tar"],
    }
    tars.check(8)
    assert all(is_reclaimed(tars.open(), key) for key in keys)
    assert tars.build() == keys
    tars.check(8)


def test_several_tars_of_one_shard_go_together(tmp_path: Path) -> None:
    tars = Tars(tmp_path, 6)
    tars.write([2, 2, 3])
    keys = tars.build()
    assert [d.path for d in tars.reclaim(keys[0]).deleted] == [
        "shard-000000.tar",
        "shard-000001.tar",
    ]
    assert tars.left == [2]
    tars.reclaim(keys[1])
    assert tars.left == []
    tars.check(7)


def test_every_shard_of_a_deleted_tar_remembers_it(tars: Tars) -> None:
    tars.write([5])
    keys = tars.build()
    tars.reclaim(keys[2])
    workspace = tars.open()
    for key in keys:
        with pytest.raises(ReclaimError, match=r"shard-000000.tar\), so it cannot be made again"):
            plan_shard(workspace, key, force=True)


def test_a_tar_waits_for_all_its_shards(tars: Tars) -> None:
    tars.write([5])
    keys = tars.build()
    shard = tars.open().paths.shard(keys[0])
    shard.unlink()
    report = tars.reclaim(keys[2])
    assert report.is_waiting
    assert [kept.why for kept in report.kept] == [
        f"samples of it belong to {keys[0]}, which is not whole yet"
    ]
    assert tars.left == [0]
    tars.make(keys[0])
    assert len(tars.reclaim(keys[2]).deleted) == 1
    tars.check(5)


def test_damage_in_any_of_its_shards_keeps_a_tar(tars: Tars) -> None:
    tars.write([5])
    keys = tars.build()
    shard = tars.open().paths.shard(keys[0])
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(content)
    report = tars.reclaim(keys[2])
    assert report.deleted == []
    assert any("train_000_a_1" in line for line in report.problems)
    assert tars.left == [0]


def test_a_rejected_or_excluded_sample_keeps_its_tar(tars: Tars) -> None:
    samples = [make_sample(number) for number in range(4)]
    bad = np.full((5, 7, 11), np.nan, np.float32)
    facts = samples[1]["json"] | {"dtype": "float32"}
    samples[1] |= {"bin": bad.tobytes(), "json": facts}
    del samples[2]["txt"]
    write_tar(tars.tar(0), samples[:2])
    write_tar(tars.tar(1), samples[2:])
    keys = tars.build()
    reports = [tars.reclaim(key) for key in keys]
    assert [report.deleted for report in reports] == [[] for _ in keys]
    assert tars.left == [0, 1]
    whys = {kept.path: kept.why for report in reports for kept in report.kept}
    assert "rejected: train_001_a_1" in whys["shard-000000.tar"]
    assert whys["shard-000001.tar"] == "1 of its samples are in no shard"


def test_a_tar_that_got_another_sample_under_its_old_time_stays(tars: Tars) -> None:
    """The catalog does not know the sample, and deleting the tar would lose it."""
    tars.write([2])
    (key,) = tars.build()
    stat = tars.tar(0).stat()
    write_tar(tars.tar(0), [make_sample(number) for number in range(3)])
    os.utime(tars.tar(0), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    report = tars.reclaim(key)
    assert [kept.why for kept in report.kept] == [
        "it also holds the samples 0002, in no shard (see ignored_members)"
    ]
    assert tars.left == [0]


def test_a_tar_with_a_member_that_no_shard_takes_stays(tars: Tars) -> None:
    write_tar(tars.tar(0), [make_sample(0), make_sample(1, **{"seg.raw": bytes(385)})])
    (key,) = tars.build()
    report = tars.reclaim(key)
    assert [kept.why for kept in report.kept] == [
        "it also holds members .seg.raw, in no shard (see ignored_members)"
    ]
    assert report.troubles == []
    assert tars.left == [0]
    assert is_reclaimed(tars.open(), key)


def test_two_tars_in_one_file_are_not_taken_for_the_first(tars: Tars) -> None:
    tars.write([1, 1])
    both = tars.tar(0).read_bytes() + tars.tar(1).read_bytes()
    tars.tar(1).unlink()
    tars.tar(0).write_bytes(both)
    workspace = tars.open()
    draft = draft_catalog(workspace)
    assert list(draft.plan.partitions) == []
    assert draft.plan.excluded_by_reason() == {"corrupt_tar": 1}


def test_other_content_under_the_same_size_and_time_keeps_a_tar(tars: Tars) -> None:
    tars.write([2])
    (key,) = tars.build()
    stat = tars.tar(0).stat()
    write_tar(tars.tar(0), [make_sample(0), make_sample(1, bin=make_sample(7)["bin"])])
    os.utime(tars.tar(0), ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert tars.tar(0).stat().st_size == stat.st_size
    report = tars.reclaim(key)
    assert "not what the shard was made of" in report.kept[0].why
    assert tars.left == [0]


def test_the_peak_counts_a_tar_until_its_last_shard(tars: Tars) -> None:
    tars.write([5, 3])
    workspace = tars.open()
    publish_catalog(workspace.paths, draft_catalog(workspace))
    table = workspace.read_catalog()
    assert table is not None
    peak = estimate_peak(workspace, table, reclaim=True)
    sizes = [tars.tar(index).stat().st_size for index in (0, 1)]
    shard = (peak.end_bytes) / 4
    assert peak.source_bytes == sum(sizes)
    # The first three shards are made before the first tar goes, the fourth before the second.
    expected = sum(sizes) + max(3 * shard, 4 * shard - sizes[0])
    assert peak.peak_bytes == pytest.approx(expected, rel=0.01)
    # Whole shards but the first: the first tar goes with that one, whatever its number.
    keys = tars.build()
    workspace.paths.shard(keys[0]).unlink()
    again = estimate_peak(workspace, table, reclaim=True)
    assert again.peak_bytes > sum(sizes) + again.shard_bytes


def test_what_a_stopped_run_has_written_needs_no_room_again(tars: Tars) -> None:
    from medassets.shards.files import partial_paths

    tars.write([2])
    (key,) = tars.build()
    workspace = tars.open()
    table = workspace.read_catalog()
    assert table is not None
    shard = workspace.paths.shard(key)
    whole = estimate_peak(workspace, table, reclaim=True)
    assert (whole.needed_bytes, whole.peak_bytes) == (
        0,
        whole.source_bytes + shard.stat().st_size,
    )
    partial, _ = partial_paths(shard)
    shard.rename(partial)
    begun = estimate_peak(workspace, table, reclaim=True)
    partial.unlink()
    nothing = estimate_peak(workspace, table, reclaim=True)
    assert begun.peak_bytes == nothing.peak_bytes
    assert begun.needed_bytes == nothing.needed_bytes - begun.shard_bytes


def test_a_shard_that_is_made_again_needs_room_beside_the_old_one(tars: Tars) -> None:
    tars.write([2])
    (key,) = tars.build()
    workspace = tars.open()
    size = workspace.paths.shard(key).stat().st_size
    os.utime(tars.tar(0))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    table = workspace.read_catalog()
    assert table is not None
    peak = estimate_peak(workspace, table, reclaim=True)
    assert peak.shard_bytes == size
    assert peak.needed_bytes > 0
    assert peak.peak_bytes == peak.source_bytes + size + peak.needed_bytes

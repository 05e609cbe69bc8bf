"""A shard in the making resumes after its last whole sample."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import MakeWork, count_encoded, fail_at, read_files


def test_a_failed_run_goes_on_after_its_last_whole_sample(
    tmp_path: Path, paths: DatasetPaths, make_work: MakeWork
) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        ensure_shard(paths, fail_at(make_work(), "a_008", RuntimeError("out of luck")))
    calls: list[str] = []
    result = ensure_shard(paths, count_encoded(make_work(), calls))
    assert result.resumed == 8
    assert sorted(calls) == ["a_008", "a_009", "a_010", "a_011"]
    undisturbed = DatasetPaths(tmp_path / "undisturbed", "tiny")
    ensure_shard(undisturbed, make_work())
    assert read_files(paths) == read_files(undisturbed)


@pytest.mark.parametrize("place", ["content", "header", "padding", "ledger", "short", "no tar"])
def test_a_doubtful_partial_is_found_and_made_again(
    tmp_path: Path, paths: DatasetPaths, make_work: MakeWork, place: str
) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        ensure_shard(paths, fail_at(make_work(), "a_008", RuntimeError("out of luck")))
    folder = paths.split_folder("train")
    tar, ledger = folder / ".shard-000000.tar.partial", folder / ".shard-000000.ledger"
    target = ledger if place == "ledger" else tar
    data = bytearray(target.read_bytes())
    # The third sample begins at 2 * (3 headers, 3040..3072 and 18 bytes of content in blocks).
    offsets = {"content": 2 * 5632 + 600, "header": 2 * 5632 + 5, "padding": 2 * 5632 + 3583}
    if place == "short":
        os.truncate(target, 2 * 5632 + 700)
    elif place == "no tar":
        target.unlink()
    else:
        data[offsets.get(place, len(data) // 2)] ^= 1
        target.write_bytes(data)
    calls: list[str] = []
    result = ensure_shard(paths, count_encoded(make_work(), calls))
    assert "a_011" in calls
    assert result.resumed == (0 if place == "no tar" else 2) or place == "ledger"
    undisturbed = DatasetPaths(tmp_path / "undisturbed", "tiny")
    ensure_shard(undisturbed, make_work())
    assert read_files(paths) == read_files(undisturbed)


def test_a_partial_of_another_plan_is_thrown_away(paths: DatasetPaths, make_work: MakeWork) -> None:
    with pytest.raises(RuntimeError, match="out of luck"):
        ensure_shard(paths, fail_at(make_work(), "a_008", RuntimeError("out of luck")))
    calls: list[str] = []
    ensure_shard(paths, replace(count_encoded(make_work(), calls), plan_fingerprint="another"))
    assert len(calls) == 11

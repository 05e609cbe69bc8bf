"""What killed processes left is removed; what a build continues or a process uses stays."""

import shutil
from pathlib import Path

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.leftovers import sweep_leftovers
from medassets.datasets.workspace import Workspace
from medassets.shards.files import lock_path, partial_paths, pending_record, previous_record
from medassets.storage.locks import lock_file
from medassets.storage.private_names import open_private

FIRST, SECOND = "train-000000", "train-000001"


def _names(workspace: Workspace) -> list[str]:
    return sorted(p.name for p in workspace.paths.folder.rglob(".*") if p.is_file())


def test_leftovers_beside_a_whole_shard_are_named_and_removed(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    shard = planned.paths.shard(FIRST)
    record = planned.paths.record(FIRST)
    before = record.read_bytes()
    leftovers = [*partial_paths(shard), pending_record(shard), previous_record(shard)]
    for path in leftovers:
        shutil.copy(record, path)
    lines = list(sweep_leftovers(planned, dry_run=True))
    assert {line.partition(": ")[0] for line in lines} == {str(path) for path in leftovers}
    assert _names(planned) == sorted(path.name for path in leftovers)
    assert list(sweep_leftovers(planned))
    assert (_names(planned), list(sweep_leftovers(planned))) == ([], [])
    assert record.read_bytes() == before


def test_an_unfinished_shard_stays_for_the_build_that_continues_it(planned: Workspace) -> None:
    shard = planned.paths.shard(FIRST)
    shard.parent.mkdir(parents=True)
    for path in partial_paths(shard):
        path.touch()
    assert list(sweep_leftovers(planned)) == []
    assert len(_names(planned)) == 2


def test_a_shard_that_a_process_works_on_is_passed_over(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, FIRST))
    shard = planned.paths.shard(FIRST)
    partial_paths(shard)[0].touch()
    with lock_file(lock_path(shard)):
        assert list(sweep_leftovers(planned)) == []
    assert len(list(sweep_leftovers(planned))) == 1


def test_files_that_a_killed_process_was_about_to_publish_are_removed(planned: Workspace) -> None:
    import os

    dead, fd = open_private(planned.paths.catalog)
    os.close(fd)
    living, fd = open_private(planned.paths.folder / "other.json")
    lines = list(sweep_leftovers(planned))
    os.close(fd)
    assert lines == [f"{dead}: left by a killed process"]
    assert (Path(dead).exists(), Path(living).exists()) == (False, True)

"""Catalog, shards and Dagster's record are brought in line, and nothing is computed."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.assets.reconcile import reconcile, restore_partitions
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError
from medassets_tests.location import QUIET, Location, metadata_of

FIRST, SECOND = "train-000000", "train-000001"


@pytest.fixture
def unknown(location: Location) -> Workspace:
    """Two shards and a catalog that Dagster does not know, as after the loss of its home."""
    workspace = location.workspace
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in (FIRST, SECOND):
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))
    return workspace


def test_what_dagster_lost_is_recorded_without_a_run(
    location: Location, unknown: Workspace
) -> None:
    files = {p: p.stat().st_mtime_ns for p in unknown.paths.folder.rglob("*") if p.is_file()}
    dry = reconcile([unknown], location.instance, dry_run=True)
    assert (dry.is_settled, location.keys) == (False, [])
    done = reconcile([unknown], location.instance)
    assert done.is_settled
    assert done.stages[0].reported == dry.stages[0].reported == [FIRST, SECOND]
    assert location.keys == done.new_partitions == list(unknown.read_plan().partitions)
    assert location.instance.get_runs() == []
    assert {p: p.stat().st_mtime_ns for p in files} == files
    again = reconcile([unknown], location.instance)
    assert (again.did_something, again.lines(), again.problems) == (False, [], [])


def test_the_event_is_that_of_a_build_that_adopts(location: Location, unknown: Workspace) -> None:
    reconcile([unknown], location.instance)
    (event,) = location.events("shards", FIRST)
    location.materialize("catalog")
    location.materialize("shards", partition=FIRST)
    adopted = location.events("shards", FIRST)[-1]
    assert metadata_of(event) == metadata_of(adopted)
    for tag in ("dagster/data_version", "dagster/code_version"):
        assert event.tags is not None
        assert adopted.tags is not None
        assert event.tags[tag] == adopted.tags[tag]


def test_partitions_alone_are_restored_at_once(location: Location, unknown: Workspace) -> None:
    assert restore_partitions(unknown, location.instance) == list(unknown.read_plan().partitions)
    assert restore_partitions(unknown, location.instance) == []


def test_a_lost_plan_is_restored_and_nothing_new_is_planned(
    location: Location, unknown: Workspace
) -> None:
    unknown.paths.catalog.unlink()
    assert reconcile([unknown], location.instance, dry_run=True).restored == (FIRST, SECOND)
    assert not unknown.has_catalog
    done = reconcile([unknown], location.instance)
    assert done.restored == (FIRST, SECOND)
    plan = unknown.read_plan()
    assert list(plan.partitions) == [FIRST, SECOND]
    assert plan.num_held > 0


def test_without_catalog_and_shards_there_is_nothing_to_restore(location: Location) -> None:
    with pytest.raises(CatalogError, match="there is no catalog yet"):
        reconcile([location.workspace], location.instance)


def test_what_is_lost_fails_the_job_with_a_line_for_each(
    location: Location, unknown: Workspace
) -> None:
    reconcile([unknown], location.instance)
    unknown.paths.shard(FIRST).unlink()
    job = location.definitions.resolve_job_def("tiny_reconcile")
    failed = job.execute_in_process(
        instance=location.instance, run_config=QUIET, raise_on_error=False
    )
    assert not failed.success
    (failure,) = failed.get_step_failure_events()
    assert "shard-000000.tar: it is not whole on disk; `medassets build tiny" in str(failure)
    build_shard(unknown, unknown.paths, plan_shard(unknown, FIRST))
    assert job.execute_in_process(instance=location.instance, run_config=QUIET).success


def test_a_tar_without_a_record_is_adopted_after_every_byte_was_proven(
    location: Location, unknown: Workspace
) -> None:
    record = unknown.paths.record(FIRST)
    content, made = record.read_bytes(), unknown.paths.shard(FIRST).stat().st_mtime_ns
    record.unlink()
    told = reconcile([unknown], location.instance)
    assert any("it has no record; `medassets reconcile tiny --full`" in p for p in told.problems)
    full = reconcile([unknown], location.instance, full=True)
    assert full.is_settled, full.problems
    assert record.read_bytes() == content
    assert unknown.paths.shard(FIRST).stat().st_mtime_ns == made
    # Other bytes of the same samples prove nothing.
    record.unlink()
    with unknown.paths.shard(FIRST).open("r+b") as file:
        file.seek(700)
        file.write(b"?")
    assert not reconcile([unknown], location.instance, full=True).is_settled
    assert not record.exists()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_dry_run_of_swapped_shards_says_what_the_run_does(
    location: Location, unknown: Workspace, is_known: bool
) -> None:
    if is_known:
        reconcile([unknown], location.instance)
    paths = unknown.paths
    for name in (paths.shard, paths.record):
        name(FIRST).rename(name("train-000077"))
        name(SECOND).rename(name(FIRST))
        name("train-000077").rename(name(SECOND))
    dry = reconcile([unknown], location.instance, dry_run=True)
    done = reconcile([unknown], location.instance)
    assert dry.stages == done.stages
    assert (done.is_settled, len(done.stages[0].repaired)) == (True, 2)


def test_a_dry_run_does_not_promise_to_put_back_a_copy(
    location: Location, unknown: Workspace
) -> None:
    reconcile([unknown], location.instance)
    for name in (unknown.paths.shard, unknown.paths.record):
        name("train-000077").write_bytes(name(FIRST).read_bytes())
    dry = reconcile([unknown], location.instance, dry_run=True)
    done = reconcile([unknown], location.instance)
    assert dry.stages == done.stages
    assert done.stages[0].repaired == []
    assert "that place is taken" in done.problems[0]


def test_a_shard_in_the_place_of_a_lost_one_is_foreseen_to_leave_it(
    location: Location, unknown: Workspace
) -> None:
    reconcile([unknown], location.instance)
    for name in (unknown.paths.shard, unknown.paths.record):
        name(FIRST).rename(name(SECOND))
    dry = reconcile([unknown], location.instance, dry_run=True)
    done = reconcile([unknown], location.instance)
    assert dry.stages == done.stages
    assert "shard-000001.tar: it is not whole on disk" in done.problems[0]


def test_a_link_in_the_place_of_a_tar_is_named(location: Location, unknown: Workspace) -> None:
    reconcile([unknown], location.instance)
    shard = unknown.paths.shard(FIRST)
    shard.rename(shard.with_name("elsewhere"))
    shard.symlink_to(shard.with_name("elsewhere"))
    problems = reconcile([unknown], location.instance).problems
    assert "shard-000000.tar: a link is in its place; move it away; `medassets build" in problems[0]


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _damage_rows(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(200) + content[204:])


@pytest.mark.parametrize("damage", [_cut_off, _empty, _damage_rows])
def test_a_damaged_catalog_is_kept_under_another_name_and_its_plan_restored(
    location: Location, unknown: Workspace, damage: Callable[[Path], None]
) -> None:
    path = unknown.paths.catalog
    damage(path)
    content, kept = path.read_bytes(), path.with_name("catalog.parquet.damaged")
    kept.write_text("mine")
    with pytest.raises(CatalogError, match=r"`medassets reconcile` restores the plan .* and keeps"):
        unknown.read_catalog()
    dry = reconcile([unknown], location.instance, dry_run=True)
    assert path.read_bytes() == content
    done = reconcile([unknown], location.instance)
    assert dry.set_aside == done.set_aside == f"{kept}-2"
    assert dry.restored == done.restored == (FIRST, SECOND)
    assert (Path(done.set_aside).read_bytes(), kept.read_text()) == (content, "mine")
    assert done.is_settled


def test_what_another_program_put_in_the_place_of_the_catalog_stays(
    location: Location, unknown: Workspace
) -> None:
    path = unknown.paths.catalog
    for put in (
        lambda: path.mkdir(),
        lambda: path.write_text("mine"),
        lambda: _write_foreign(path),
    ):
        path.rmdir() if path.is_dir() else path.unlink()
        put()
        for dry_run in (True, False):
            with pytest.raises(CatalogError, match=r"[Mm]ove it away, then `medassets reconcile`"):
                reconcile([unknown], location.instance, dry_run=dry_run)
        assert path.exists()


def _write_foreign(path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), path)

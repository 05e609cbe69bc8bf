"""Squash, move, re-upload and deletion upstream while a build is half done."""

import json
from collections.abc import Callable, Mapping

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.estimates import estimate_plan
from medassets.datasets.status import Recorded, ShardState, shard_states
from medassets.datasets.upstream.move import UPSTREAM_KEY, Move
from medassets.errors import RevisionGoneError
from medassets.shards.catalog.files import read_catalog, write_catalog
from medassets.shards.record import ShardRecord
from medassets_tests.datasets.upstream.conftest import MovingDataset


def states(moving: MovingDataset) -> list[ShardState]:
    keys = list(moving.workspace.read_plan().partitions)
    return list(shard_states(moving.workspace, Recorded(keys, ())).values())


def test_a_plan_states_the_bytes_that_the_hub_states(moving: MovingDataset) -> None:
    table = moving.refresh().table
    estimated = estimate_plan(moving.workspace.kind, table)["train"]
    assert estimated.raw_bytes == volume_bytes(moving)


def volume_bytes(moving: MovingDataset) -> int:
    return sum((moving.folder / path).stat().st_size for path in moving.paths())


def count_source_bytes(records: Mapping[str, ShardRecord]) -> int:
    samples = [sample for record in records.values() for sample in record.samples]
    return sum(sample.facts["source_bytes"] for sample in samples)


def finish(moving: MovingDataset) -> int:
    """Build every shard; return the bytes that were fetched."""
    return moving.build(*range(len(moving.workspace.read_plan().partitions)))


def test_without_a_refresh_a_squashed_revision_is_named_if_files_changed(
    moving: MovingDataset,
) -> None:
    moving.upload_again(moving.paths()[4])
    moving.hub.squash()
    with pytest.raises(RevisionGoneError, match="shards that were never built follow it"):
        moving.build(2)
    assert moving.build(3) == (moving.folder / moving.paths()[6]).stat().st_size


def test_a_built_shard_can_be_made_again_by_force_after_a_squash(moving: MovingDataset) -> None:
    before = moving.records()
    moving.hub.squash()
    moving.refresh()
    moving.build(0, force=True)
    for old, new in zip(before.values(), moving.records().values(), strict=True):
        assert (old.plan_fingerprint, old.num_samples) == (new.plan_fingerprint, new.num_samples)
        assert [s.members[0].crc32 for s in old.samples] == [
            s.members[0].crc32 for s in new.samples
        ]
    assert states(moving)[:2] == [ShardState.DONE] * 2


def test_after_a_squash_what_is_built_stays_and_the_rest_is_built(moving: MovingDataset) -> None:
    old = moving.hub.sha
    built = moving.records()
    new = moving.hub.squash()
    found = moving.refresh().upstream
    assert found is not None
    assert (found.move, found.left, found.lost) == (Move(), Move(), (old,))
    assert (found.repinned, found.dropped, found.updated) == (3, 0, 0)
    assert [row["revision"] for row in moving.rows()] == [old] * 4 + [new] * 3
    fetched = finish(moving)
    assert fetched == sum(moving.sent().values()) - count_source_bytes(built)
    assert sum(moving.sent().values()) == volume_bytes(moving)
    assert states(moving) == [ShardState.DONE] * 4
    assert {key: record for key, record in moving.records().items() if key in built} == built


def test_files_staged_before_a_squash_are_not_fetched_again(moving: MovingDataset) -> None:
    keys = list(moving.workspace.read_plan().partitions)
    moving.workspace.stage(moving.workspace.read_partition(keys[2]))
    moving.hub.squash()
    moving.refresh()
    moving.hub.forget_requests()
    assert moving.build(2) == 0
    assert moving.sent() == {}
    assert states(moving)[2] is ShardState.DONE


def test_an_interrupted_shard_goes_on_with_its_staged_files_after_a_squash(
    moving: MovingDataset,
) -> None:
    key = list(moving.workspace.read_plan().partitions)[2]

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    work = plan_shard(moving.workspace, key)
    with pytest.raises(KeyboardInterrupt):
        build_shard(moving.workspace, moving.workspace.paths, work, observe=interrupt)
    moving.hub.squash()
    moving.refresh()
    moving.hub.forget_requests()
    assert moving.build(2) == 0
    assert moving.sent() == {}
    assert moving.records()[key].num_samples == 2


def test_a_branch_that_moves_back_is_at_the_plan_again(moving: MovingDataset) -> None:
    path = moving.folder / moving.paths()[4]
    content = path.read_bytes()
    moving.upload_again(moving.paths()[4])
    moving.hub.refresh()
    moving.refresh()
    path.write_bytes(content)
    moving.hub.refresh()
    found = moving.refresh().upstream
    assert found is not None
    assert found.move == found.left == Move()
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4


def test_a_moved_branch_leaves_rows_where_they_are_pinned(moving: MovingDataset) -> None:
    old = moving.hub.sha
    changed = moving.paths()[4]
    moving.upload_again(changed)
    moving.hub.refresh()
    found = moving.refresh().upstream
    assert found is not None
    assert found.move == found.left == Move(changed=1)
    assert (found.repinned, found.lost) == (0, ())
    assert {row["revision"] for row in moving.rows()} == {old}
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4


def test_rows_never_built_follow_a_revision_that_is_asked_for(moving: MovingDataset) -> None:
    old, built = moving.hub.sha, moving.records()
    moving.upload_again(moving.paths()[0])
    moving.upload_again(moving.paths()[4])
    new = moving.hub.refresh()
    found = moving.refresh(revision="main").upstream
    assert found is not None
    assert (found.move, found.left, found.repinned) == (Move(changed=2), Move(changed=1), 3)
    assert [row["revision"] for row in moving.rows()] == [old] * 4 + [new] * 3
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4
    assert {key: record for key, record in moving.records().items() if key in built} == built


def test_changed_files_make_shards_stale_only_when_the_user_says_so(
    moving: MovingDataset,
) -> None:
    old = moving.hub.sha
    changed, same = moving.paths()[0], moving.paths()[1]
    moving.upload_again(changed)
    new = moving.hub.squash()
    moving.refresh()
    assert states(moving)[:2] == [ShardState.DONE] * 2
    finish(moving)
    before = moving.records()
    found = moving.refresh(update=True).upstream
    assert found is not None
    assert (found.move, found.left, found.updated) == (Move(changed=1), Move(), 1)
    assert states(moving) == [ShardState.STALE, *[ShardState.DONE] * 3]
    moving.hub.forget_requests()
    size = (moving.folder / changed).stat().st_size
    assert moving.build(0) == size
    assert moving.sent() == {changed: size}
    after = moving.records()
    assert states(moving) == [ShardState.DONE] * 4
    assert [row["revision"] for row in moving.rows()][:2] == [new, old]
    key = next(iter(after))
    digests = [[s.facts["source_sha256"] for s in r[key].samples] for r in (before, after)]
    assert digests[0][0] != digests[1][0]
    assert digests[0][1] == digests[1][1], same


def test_a_file_deleted_upstream_stays_built_or_leaves_the_plan(moving: MovingDataset) -> None:
    built, unbuilt = moving.paths()[1], moving.paths()[5]
    records = moving.records()
    for path in (built, unbuilt):
        moving.delete(path)
    moving.hub.squash()
    draft = moving.refresh()
    assert draft.upstream is not None
    assert (draft.upstream.move, draft.upstream.left) == (Move(gone=2), Move(gone=1))
    assert (draft.upstream.repinned, draft.upstream.dropped) == (2, 1)
    assert list(draft.plan.partitions.values()) == [2, 2, 1, 1]
    assert draft.plan.excluded_by_reason() == {"missing_upstream": 1}
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4
    assert {key: record for key, record in moving.records().items() if key in records} == records
    again = moving.refresh()
    assert again.plan.partitions == draft.plan.partitions
    assert again.plan.excluded_by_reason() == {"missing_upstream": 1}


def test_a_row_that_is_excluded_upstream_stays_built_or_leaves_the_plan(
    moving: MovingDataset,
) -> None:
    built, unbuilt = (moving.rows()[number]["key"] for number in (1, 5))
    (table,) = moving.folder.rglob("*no_chest*")
    table.write_text("".join(f"{key}.nii.gz\n" for key in (built, unbuilt)))
    moving.hub.squash()
    draft = moving.refresh()
    assert draft.upstream is not None
    assert (draft.upstream.repinned, draft.upstream.dropped) == (2, 1)
    assert list(draft.plan.partitions.values()) == [2, 2, 1, 1]
    assert draft.plan.excluded_by_reason() == {"no_chest": 1}
    assert moving.refresh(update=True).plan.partitions == draft.plan.partitions
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4


def test_an_updated_shard_keeps_the_sample_whose_file_is_gone(moving: MovingDataset) -> None:
    changed, gone = moving.paths()[0], moving.paths()[1]
    before = next(iter(moving.records().values()))
    moving.upload_again(changed)
    moving.delete(gone)
    moving.hub.squash()
    moving.refresh(update=True)
    moving.hub.forget_requests()
    moving.build(0)
    assert set(moving.sent()) == {changed}
    after = next(iter(moving.records().values()))
    assert [s.key for s in after.samples] == [s.key for s in before.samples]
    assert after.samples[1].members[-1].crc32 == before.samples[1].members[-1].crc32


def test_a_shard_all_of_whose_files_are_gone_leaves_the_plan(moving: MovingDataset) -> None:
    for path in moving.paths()[4:6]:
        moving.delete(path)
    moving.hub.squash()
    draft = moving.refresh()
    assert list(draft.plan.partitions) == ["train-000000", "train-000001", "train-000003"]
    assert draft.dropped_partitions == ["train-000002"]
    moving.grow()
    moving.hub.refresh()
    numbers = [int(key[-6:]) for key in moving.refresh().plan.partitions]
    assert numbers == sorted(set(numbers))


def test_files_that_come_back_are_planned_again(moving: MovingDataset) -> None:
    path = moving.paths()[5]
    content = (moving.folder / path).read_bytes()
    moving.delete(path)
    moving.hub.squash()
    moving.refresh()
    (moving.folder / path).write_bytes(content)
    moving.hub.refresh()
    draft = moving.refresh()
    assert draft.upstream is not None
    assert draft.upstream.move.new == 1
    assert sum(draft.plan.partitions.values()) == 7
    finish(moving)
    assert states(moving) == [ShardState.DONE] * len(draft.plan.partitions)


def test_new_files_are_counted_and_a_built_short_shard_grows_without_fetching_twice(
    moving: MovingDataset,
) -> None:
    finish(moving)
    moving.grow()
    moving.hub.squash()
    found = moving.refresh().upstream
    assert found is not None
    assert found.move == Move(new=2)
    assert states(moving)[3:] == [ShardState.STALE, ShardState.LOST]
    finish(moving)
    assert sum(moving.sent().values()) == volume_bytes(moving)
    assert states(moving) == [ShardState.DONE] * 5


def test_a_growing_shard_that_was_not_finished_still_takes_over_its_samples(
    moving: MovingDataset,
) -> None:
    finish(moving)
    moving.grow()
    moving.hub.squash()
    moving.refresh()
    moving.hub.squash()
    found = moving.refresh().upstream
    assert found is not None
    assert found.repinned == 2
    finish(moving)
    assert sum(moving.sent().values()) == volume_bytes(moving)


def test_corrected_tables_are_counted_and_taken_on_update(moving: MovingDataset) -> None:
    table = moving.folder / "dataset/radiology_text_reports/train_reports.csv"
    lines = table.read_text().splitlines(keepends=True)
    lines[1] = lines[1].replace("fever for 5 days", "fever for 4 days")
    table.write_text("".join(lines))
    moving.hub.squash()
    found = moving.refresh().upstream
    assert found is not None
    assert (found.move, found.left) == (Move(rows=1), Move(rows=1))
    moving.hub.forget_requests()
    moving.refresh(update=True)
    assert states(moving)[0] is ShardState.STALE
    moving.build(0)
    assert states(moving)[0] is ShardState.DONE


def test_a_stale_shard_whose_file_is_gone_keeps_its_samples_and_gets_no_more(
    open_moving: Callable[..., MovingDataset],
) -> None:
    old = open_moving()
    old.refresh()
    finish(old)
    old.grow()
    old.delete(old.paths()[6])
    old.hub.squash()
    changed = open_moving(target_shape=(12, 10, 6))
    draft = changed.refresh()
    assert list(draft.plan.partitions.values()) == [2, 2, 2, 1, 2]
    assert states(changed)[:4] == [ShardState.STALE] * 4
    changed.build(0, 1, 2, 4)
    with pytest.raises(RevisionGoneError):
        changed.build(3)


def test_a_refresh_that_finds_nothing_new_asks_for_no_listing(moving: MovingDataset) -> None:
    moving.hub.squash()
    moving.refresh()
    moving.hub.forget_requests()
    before = moving.workspace.paths.catalog.read_bytes()
    moving.refresh()
    num_tables = 4
    # One asks which tables there are, so that all that are missing are named together.
    assert len(moving.hub.requests("paths-info")) == 1 + num_tables
    assert moving.workspace.paths.catalog.read_bytes() == before


@pytest.mark.parametrize("pinned", [True, False], ids=["pinned", "of an earlier version"])
def test_a_catalog_without_digests_knows_those_of_built_shards(
    moving: MovingDataset, *, pinned: bool
) -> None:
    if not pinned:
        table = read_catalog(moving.workspace.paths.catalog)
        metadata = {k: v for k, v in table.schema.metadata.items() if k != UPSTREAM_KEY}
        table = table.drop_columns(["file_bytes", "file_digest"]).replace_schema_metadata(metadata)
        write_catalog(table, moving.workspace.paths.catalog)
    moving.upload_again(moving.paths()[0])
    moving.delete(moving.paths()[5])
    moving.hub.squash()
    found = moving.refresh().upstream
    assert found is not None
    assert found.move == Move(changed=1, gone=1)
    finish(moving)
    assert states(moving) == [ShardState.DONE] * 4
    assert json.dumps(found.as_dict())

"""A shard's state: what Dagster remembers and what the disk holds, never one alone."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from medassets.datasets.accounts import take_account_of
from medassets.datasets.build import build_shard, plan_shard, today_fingerprint
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.status import Recorded, ShardState, shard_states
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, Reason
from medassets.shards.failure import FailureNote
from medassets.shards.record import Rejected

KEY, OTHER = "train-000000", "train-000001"
NOBODY = Recorded(materialized=(), failed=())
DAGSTER = Recorded(materialized={KEY}, failed=())


@pytest.fixture
def made(planned: Workspace) -> Workspace:
    """The same with one shard on disk."""
    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    return planned


def state(workspace: Workspace, recorded: Recorded) -> ShardState:
    return shard_states(workspace, recorded)[KEY]


def test_states_without_a_catalog_are_an_error_that_says_what_to_do(workspace: Workspace) -> None:
    with pytest.raises(CatalogError, match=r"no catalog yet; .*medassets build tiny"):
        shard_states(workspace, NOBODY)


def test_every_planned_shard_has_a_state_in_the_order_of_the_plan(planned: Workspace) -> None:
    states = shard_states(planned, NOBODY)
    assert list(states) == [f"{s}-{i:06d}" for s in ("train", "valid") for i in range(3)]
    assert set(states.values()) == {ShardState.MISSING}


def test_a_shard_on_disk_and_on_record_is_done(made: Workspace) -> None:
    assert state(made, DAGSTER) == ShardState.DONE
    assert shard_states(made, DAGSTER)[OTHER] == ShardState.MISSING


def test_a_shard_that_dagster_does_not_know_is_orphaned(made: Workspace) -> None:
    assert state(made, NOBODY) == ShardState.ORPHANED


@pytest.mark.parametrize("damage", ["gone", "short", "no record"])
def test_a_shard_that_is_on_disk_in_part_is_lost_whatever_dagster_knows(
    made: Workspace, damage: str
) -> None:
    shard = made.paths.shard(KEY)
    if damage == "gone":
        shard.unlink()
    elif damage == "short":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        made.paths.record(KEY).unlink()
    assert state(made, DAGSTER) == state(made, NOBODY) == ShardState.LOST


def test_a_shard_that_is_gone_as_a_whole_is_lost_if_dagster_knows_it(made: Workspace) -> None:
    for path in (made.paths.shard(KEY), made.paths.record(KEY)):
        path.unlink()
    assert state(made, DAGSTER) == ShardState.LOST
    assert state(made, NOBODY) == ShardState.MISSING


def test_a_shard_of_other_settings_is_stale(made: Workspace) -> None:
    assert isinstance(made.kind, VolumeDataset)
    kind = VolumeDataset(replace(made.kind.spec, target_shape=(20, 20, 12)))
    changed = replace(made, kind=kind)
    assert state(changed, DAGSTER) == ShardState.STALE
    assert state(changed, NOBODY) == ShardState.STALE


def test_a_stale_shard_whose_next_build_failed_has_failed_as_the_account_says(
    made: Workspace,
) -> None:
    assert isinstance(made.kind, VolumeDataset)
    kind = VolumeDataset(replace(made.kind.spec, target_shape=(20, 20, 12)))
    changed = replace(made, kind=kind)
    today = today_fingerprint(changed, changed.read_plan(), KEY)
    rejected = Rejected(changed.read_partition(KEY)[0].key, Reason.CORRUPT_GZIP, "cut off")
    FailureNote(today, num_tried=1, rejected=(rejected,)).write(changed.paths.shard(KEY))
    assert take_account_of(changed, [KEY]).left.keys() == {"failed"}
    assert state(changed, DAGSTER) == state(changed, NOBODY) == ShardState.FAILED
    # The note of another plan says nothing.
    assert state(made, DAGSTER) == ShardState.DONE


def test_a_shard_whose_last_run_failed_has_failed(made: Workspace) -> None:
    failed = Recorded(materialized={KEY}, failed={KEY, OTHER})
    assert shard_states(made, failed)[OTHER] == ShardState.FAILED
    # Whole on disk all the same: a build adopts it.
    assert state(made, failed) == ShardState.ORPHANED


def test_a_short_shard_that_was_planned_anew_is_stale(
    planned: Workspace, open_folder: Callable[..., Workspace]
) -> None:
    folder = planned.source.folder  # pyright: ignore[reportAttributeAccessIssue]
    workspace = open_folder(folder, name="limited")
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=2))
    build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
    assert state(workspace, DAGSTER) == ShardState.DONE
    publish_catalog(workspace.paths, draft_catalog(workspace))
    assert state(workspace, DAGSTER) == ShardState.STALE

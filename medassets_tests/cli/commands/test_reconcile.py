"""`medassets reconcile`: what it says, and its exit codes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace

Medassets = Callable[..., Any]
KEY = "train-000000"


@pytest.fixture
def one_shard(lungs: Callable[..., Path]) -> Workspace:
    """A catalog and one shard of `lungs`, and a Dagster home that knows nothing."""
    lungs()
    workspace = Session().workspace("lungs")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
    return workspace


def test_it_says_what_it_did_and_then_that_all_agree(
    medassets: Medassets, one_shard: Workspace
) -> None:
    dry = medassets("reconcile", "lungs", "--dry-run")
    assert (dry.code, dry.err) == (1, "")
    assert "lungs: shards: 1 whole shards would be recorded" in dry.out
    done = medassets("reconcile", "lungs")
    assert (done.code, done.err) == (0, "")
    assert f"lungs: {len(one_shard.read_plan().partitions)} partitions made known" in done.out
    again = medassets("reconcile", "lungs", "--dry-run")
    assert again.code == 0
    assert again.out == "lungs: catalog, shards and Dagster's record agree\n"


def test_what_is_left_is_named_with_exit_code_1(medassets: Medassets, one_shard: Workspace) -> None:
    one_shard.paths.record(KEY).write_text("{}")
    ran = medassets("reconcile", "lungs", "--json")
    assert ran.code == 1
    document = ran.document
    assert document["stages"][0]["shards"]["lost"] == 1
    (problem,) = document["problems"]
    assert str(one_shard.paths.shard(KEY)) in problem
    assert "--full" in problem


def test_a_dataset_without_catalog_and_shards_is_an_error_with_a_remedy(
    medassets: Medassets, lungs: Callable[..., Path]
) -> None:
    lungs()
    ran = medassets("reconcile", "lungs")
    assert ran.code == 1
    assert "there is no catalog yet; `medassets build lungs` makes it" in ran.err


def test_other_commands_refuse_without_the_catalog_and_name_this_one(
    medassets: Medassets, one_shard: Workspace
) -> None:
    one_shard.paths.catalog.unlink()
    for command in (
        ("status", "lungs"),
        ("verify", "lungs"),
        ("retry", "lungs"),
        ("build", "lungs", "--no-refresh"),
    ):
        ran = medassets(*command)
        assert ran.code == 1, command
        assert "the catalog is gone, but lungs has 1 shards on disk" in ran.err, command
        assert "`medassets reconcile lungs` restores the plan" in ran.err, command
    plan = medassets("plan", "lungs", "--json")
    assert plan.code == 0
    assert not one_shard.has_catalog


@pytest.mark.slow
def test_clips_and_frames_share_a_plan_that_the_records_of_both_restore(
    medassets: Medassets, built_films: Path, declare_films: Callable[..., Path]
) -> None:
    workspace = Session().workspace("films")
    before = workspace.read_plan()
    (built_films / "catalog.parquet").unlink()
    # Only the clips know the last shard, and only the frames the first one.
    last, first = list(before.partitions)[-1], next(iter(before.partitions))
    clips = Session().workspace("films", "clips")
    for paths, key in ((workspace.paths, last), (clips.paths, first)):
        paths.shard(key).unlink()
        paths.record(key).unlink()
    # Settings of the lost plan count, not those declared since.
    declare_films(split_mode="random")
    ran = medassets("reconcile", "films")
    assert f"the plan of {len(before.partitions)} shards restored" in ran.out
    after = workspace.read_plan()
    assert (after.partitions, after.digests) == (before.partitions, before.digests)

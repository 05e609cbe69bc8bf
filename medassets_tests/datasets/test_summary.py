"""How far a stage is and how fast it goes, from the files on disk alone."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.accounts import open_books
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.summary import WINDOW_S, measure_throughput, summarize
from medassets.datasets.workspace import Workspace
from medassets.testing.ct_rate import SyntheticRepository

NOW = 1_000_000.0


@pytest.mark.parametrize(
    ("made", "rate"),
    [
        ([], None),
        ([(NOW - 10, 4)], None),
        # Four samples in the 20 s since the first shard was published.
        ([(NOW - 20, 7), (NOW - 10, 4)], 4 / 20),
        # Times out of order, an old shard, and one of a clock that is ahead.
        ([(NOW - 10, 4), (NOW - 20, 7), (NOW - WINDOW_S - 1, 99), (NOW + 5, 50)], 4 / 20),
        # It stands still: the same shards an hour later are none at all.
        ([(NOW - WINDOW_S - 20, 7), (NOW - WINDOW_S - 10, 4)], None),
    ],
)
def test_the_throughput_is_that_of_the_last_hour(
    made: list[tuple[float, int]], rate: float | None
) -> None:
    assert measure_throughput(made, now=NOW).samples_per_s == rate


def build(workspace: Workspace, *keys: str) -> None:
    for key in keys:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))


def test_a_summary_counts_shards_and_items_by_state(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    workspace = open_folder(repository.folder, samples_per_shard=2)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    plan = workspace.read_plan()
    first, second, third, *others = plan.partitions
    build(workspace, first, second, third)
    for age, key in ((300, first), (200, second)):
        os.utime(workspace.paths.record(key), (NOW - age, NOW - age))
    workspace.paths.shard(third).unlink()
    found = summarize(workspace, now=NOW)
    assert found.shards == {"done": 2, "lost": 1, "missing": len(others)}
    assert found.num_shards == len(plan.partitions)
    done = plan.partitions[first] + plan.partitions[second]
    assert found.account.done == done
    assert found.account.num_left == sum(plan.partitions.values()) - done
    rate = plan.partitions[second] / 300
    assert found.throughput.samples_per_s == pytest.approx(rate)
    assert found.seconds_left == pytest.approx(found.account.num_left / rate)
    assert found.free_bytes > 0
    assert found.as_dict()["samples_per_s"] == found.throughput.samples_per_s


def test_a_shard_that_vanishes_meanwhile_is_no_error(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository, tmp_path: Path
) -> None:
    workspace = open_folder(repository.folder)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    first, second, *_ = workspace.read_plan().partitions
    build(workspace, first, second)
    books = open_books(workspace)
    workspace.paths.record(first).rename(tmp_path / "gone.json")
    assert summarize(workspace, now=NOW, books=books).shards["done"] == 2

"""Two datasets declared over one tree: neither deletes what the other still needs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets_tests.cli.scans import KEYS, Scans

Medassets = Callable[..., Any]


@pytest.fixture
def both(scans: Scans) -> Scans:
    """`scans`, and beside it `more`, declared over the same files and never planned."""
    scans.declare(name="more", samples_per_shard=3)
    return scans


@pytest.mark.parametrize(
    "command", [["reclaim", "scans"], ["reclaim", "scans", "--delete-sources", "--yes"]]
)
def test_a_declared_dataset_without_a_plan_is_named(
    both: Scans, medassets: Medassets, command: list[str]
) -> None:
    ran = medassets(*command)
    assert ran.code == 1
    assert "the dataset more is declared over the same files" in ran.err
    assert "`medassets build more` plans and makes it" in ran.err
    assert both.nothing_deleted()


def test_a_build_that_could_not_delete_is_not_begun(both: Scans, medassets: Medassets) -> None:
    both.shard(0).unlink()
    ran = medassets("build", "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert "the dataset more is declared over the same files" in ran.err
    assert not both.shard(0).exists()
    assert medassets("build", "scans").code == 0


def test_plan_counts_no_source_as_gone_that_has_to_stay(both: Scans, medassets: Medassets) -> None:
    planned = medassets("plan", "scans", "--json")
    assert planned.code == 0
    assert "no source would be deleted: the dataset more is declared" in planned.err
    peak = planned.document["peak"]
    assert peak["end_bytes"] == peak["source_bytes"] + peak["shard_bytes"]
    assert medassets("build", "more", "--limit", "3").code == 0
    planned = medassets("plan", "scans", "--json")
    assert "no source would be deleted" not in planned.err
    held = sum(both.place(index).stat().st_size for index in (3, 4))
    peak = planned.document["peak"]
    assert peak["end_bytes"] == held + peak["shard_bytes"]


def test_dagster_asset_materialize_deletes_nothing_before_the_other_is_planned(
    both: Scans,
) -> None:
    ops = {"ops": {"scans__reclaimed_sources": {"config": {"confirm": "DELETE"}}}}
    select = ["--select", "scans/reclaimed_sources", "--partition", KEYS[0]]
    ran = both.shell.materialize(*select, "--config-json", json.dumps(ops))
    assert ran.returncode != 0
    assert "the dataset more is declared over the same files" in ran.stdout + ran.stderr
    assert (both.nothing_deleted(), both.green()) == (True, [])


def test_both_are_made_and_then_all_sources_go(both: Scans, medassets: Medassets) -> None:
    assert medassets("build", "more", "--limit", "3").code == 0
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert "3 sources deleted" in ran.out
    assert "the dataset more is made from it, too, and still holds a sample of it back" in ran.out
    assert len(both.left) == 2
    assert both.green() == KEYS[:1]
    # It deletes its own, and those of the other that waited for it.
    ran = medassets("build", "more", "--delete-sources", "--yes")
    assert ran.code == 0, ran.err
    assert "2 sources deleted" in ran.out
    assert both.left == []
    assert medassets("reclaim", "scans", "--delete-sources", "--yes").code == 0
    assert both.green() == KEYS
    both.check_volumes()
    for dataset in ("more", "scans"):
        assert medassets("verify", dataset).code == 0


def test_another_dataset_that_is_whole_changes_nothing(both: Scans, medassets: Medassets) -> None:
    assert medassets("build", "more").code == 0
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 0
    assert len(ran.document["deleted"]) == 5
    assert medassets("verify", "more").code == 0
    assert medassets("build", "more").code == 0
    assert Path(both.folder.parent / "more" / "train" / "manifest.json").exists()

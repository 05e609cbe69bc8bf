"""Two datasets declared over one tree: neither deletes what the other still needs."""

import json
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from medassets_tests.cli.scans import KEYS, Scans

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]


@pytest.fixture
def both(scans: Scans) -> Scans:
    """`scans`, and beside it `more`, declared over the same files and never planned."""
    scans.declare(name="more", samples_per_shard=3)
    return scans


def test_files_of_a_declared_dataset_without_a_plan_are_listed_as_kept(
    both: Scans, medassets: Medassets
) -> None:
    ran = medassets("reclaim", "scans")
    assert ran.code == 1
    assert "0 sources would be deleted" in ran.out
    assert "the dataset more still needs it: train-000000 is to be made" in ran.err
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert "5 because the dataset more still needs it\n" in ran.out
    assert both.nothing_deleted()


def test_plan_counts_no_source_as_gone_that_has_to_stay(both: Scans, medassets: Medassets) -> None:
    peak = medassets("plan", "scans", "--json").document["peak"]
    assert peak["end_bytes"] == peak["source_bytes"] + peak["shard_bytes"]
    assert medassets("build", "more", "--limit", "3").code == 0
    held = sum(both.place(index).stat().st_size for index in (3, 4))
    peak = medassets("plan", "scans", "--json").document["peak"]
    assert peak["end_bytes"] == held + peak["shard_bytes"]


def test_dagster_asset_materialize_keeps_what_the_other_needs(both: Scans) -> None:
    ops = {"ops": {"scans__reclaimed_sources": {"config": {"confirm": "DELETE"}}}}
    select = ["--select", "scans/reclaimed_sources", "--partition", KEYS[0]]
    ran = both.shell.materialize(*select, "--config-json", json.dumps(ops))
    assert ran.returncode != 0
    assert "the dataset more still needs it" in ran.stdout + ran.stderr
    assert (both.nothing_deleted(), both.green()) == (True, [])


def test_both_are_made_and_then_all_sources_go(both: Scans, medassets: Medassets) -> None:
    assert medassets("build", "more", "--limit", "3").code == 0
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert "3 sources deleted" in ran.out
    assert "2 because the dataset more still needs it\n" in ran.out
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


@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_a_broken_declaration_stops_every_deletion(
    both: Scans, medassets: Medassets, command: str
) -> None:
    both.declare(name="more", preprocesing="none")
    both.shard(0).unlink()
    ran = medassets(command, "scans", "--delete-sources", "--yes")
    assert ran.code == 1
    assert "more/defs.yaml" in ran.err
    assert "preprocesing: no such field" in ran.err
    assert "correct it, or remove it" in ran.err
    assert both.nothing_deleted()
    # Nothing was begun that could not be ended.
    assert not both.shard(0).exists()
    assert medassets("build", "scans").code == 0


def test_a_copy_of_a_published_folder_changes_nothing(scans: Scans, medassets: Medassets) -> None:
    shutil.copytree(scans.folder, scans.folder.with_name("scans.bak"))
    assert medassets("reclaim", "scans", "--delete-sources", "--yes").code == 0
    assert scans.left == []

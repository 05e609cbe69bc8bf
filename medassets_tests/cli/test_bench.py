"""`medassets bench loader` on shards of a real build."""

from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets_tests.cli.conftest import Medassets


@pytest.fixture
def shards(workspace: Workspace) -> str:
    """A pattern of the training shards of a tiny dataset."""
    publish_catalog(workspace.paths.catalog, draft_catalog(workspace))
    for key in workspace.read_plan().partitions:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))
    return str(workspace.paths.split_folder("train") / "*.tar")


@pytest.mark.parametrize("options", [(), ("--cold",), ("--worker-kind", "process")])
def test_worker_counts_are_measured_and_one_is_recommended(
    medassets: Medassets, shards: str, options: tuple[str, ...]
) -> None:
    ran = medassets("bench", "loader", shards, "--workers", "0,2", "--json", *options)
    assert ran.code == 0, ran.err
    found = ran.document
    assert (found["kind"], found["num_samples"]) == ("volumes", 7)
    assert [t["num_workers"] for t in found["timings"]] == [0, 2]
    for measured in found["timings"]:
        assert (measured["num_batches"], measured["num_samples"]) == (4, 7)
        # Voxels of float32, and 18 labels.
        assert measured["num_bytes"] == 7 * 4 * (24 * 20 * 12 + 18)
        assert 0 < measured["first_s"] <= measured["total_s"]
        assert measured["samples_per_s"] == pytest.approx(7 / measured["total_s"])
    assert found["recommended"]["num_workers"] == 2
    assert "0 workers are not considered" in found["recommended"]["reasons"][1]


def test_a_person_reads_a_table_and_the_reasons(medassets: Medassets, shards: str) -> None:
    out = medassets("bench", "loader", shards, "--workers", "1", "--batches", "2").out
    assert "volumes, 7 samples, batches of 2, thread workers" in out
    assert "recommended: num_workers=1" in out
    assert "samples/s" in out


@pytest.mark.parametrize("value", ["two", "1,-1", ""])
def test_workers_that_are_no_numbers_are_refused(medassets: Medassets, value: str) -> None:
    ran = medassets("bench", "loader", "x.tar", "--workers", value)
    assert ran.code == 2
    assert "--workers" in ran.err


def test_shards_that_are_not_there_are_named(medassets: Medassets, tmp_path: Path) -> None:
    missing = tmp_path / "shard-000000.tar"
    ran = medassets("bench", "loader", str(missing))
    assert ran.code == 1
    assert f"{missing}: the shard is missing" in ran.err

"""`medassets bench loader` on shards of a real build."""

from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets_tests.cli.conftest import Medassets
from medassets_tests.loaders.windows.window_data import make_mask, write_case


@pytest.fixture
def shards(workspace: Workspace) -> str:
    """A pattern of the training shards of a tiny dataset."""
    publish_catalog(workspace.paths, draft_catalog(workspace))
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


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A folder of old masks of the lung."""
    for number in range(4):
        write_case(tmp_path / "old" / "processed", f"case_{number}", make_mask(number))
    (tmp_path / "old" / "metadata.csv").write_text("case_id\n")
    return tmp_path / "old"


@pytest.mark.parametrize("options", [(), ("--cold",), ("--cache_data", "--precompute_sparse")])
def test_windows_in_folders_are_measured(
    medassets: Medassets, masks: Path, options: tuple[str, ...]
) -> None:
    ran = medassets("bench", "loader", str(masks), "--workers", "0,1", "--json", *options)
    assert ran.code == 0, ran.err
    assert (ran.document["kind"], ran.document["num_samples"]) == ("windows", 4)


def test_an_unknown_window_is_wrong_usage_and_said_as_json(
    medassets: Medassets, masks: Path
) -> None:
    ran = medassets("bench", "loader", str(masks), "--window-type", "limb", "--json")
    assert ran.code == 2
    assert ran.document["exit_code"] == 2
    assert "Invalid window_type: limb. Available: lung" in ran.document["error"]


def test_a_source_without_samples_says_what_was_left_out(medassets: Medassets, masks: Path) -> None:
    ran = medassets("bench", "loader", str(masks), "--window-type", "bone", "--json")
    assert ran.code == 2
    assert "left out: 4 missing_file; " in ran.document["error"]
    empty = masks.parent / "empty"
    empty.mkdir()
    ran = medassets("bench", "loader", str(empty), "--json")
    assert (ran.code, "left out: nothing" in ran.document["error"]) == (2, True)


def test_the_options_of_the_older_script_name_the_same(medassets: Medassets, masks: Path) -> None:
    options = [
        "--roots",
        str(masks),
        "--window_type",
        "lung",
        "--batch_size",
        "2",
        "--workers",
        "0",
    ]
    ran = medassets("bench", "loader", *options, "--num_batches", "1", "--no-cache-data", "--json")
    assert ran.code == 0, ran.err
    assert ran.document["timings"][0]["num_batches"] == 1
    assert medassets("bench", "loader").code == 2


def test_caches_belong_to_windows(medassets: Medassets, shards: str) -> None:
    ran = medassets("bench", "loader", shards, "--cache-data")
    assert ran.code == 2
    assert "--cache-data: belongs to windows; the source holds volumes" in ran.err

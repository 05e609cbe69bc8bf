"""`medassets plan`: what a build would cost; nothing is written."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets_tests.reclaim.tars import make_sample, write_tar
from medassets_tests.trees import make_tree

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_a_plan_counts_everything_and_writes_nothing(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    ran = medassets("plan", "lungs")
    assert (ran.code, ran.err) == (0, "")
    assert "lungs from " in ran.out
    assert "disk: " in ran.out
    assert " free: fits" in ran.out
    assert ran.out.startswith(
        "lungs: 18 source items = 0 done + 0 rejected + 4 excluded (no_chest 2, spacing_missing 2) "
        "+ 0 held + 14 left (missing 14)\n"
    )
    assert "  excluded, spacing_missing: train_5_a_1, valid_5_a_1; the first: " in ran.out
    assert not home.exists()
    document = medassets("plan", "lungs", "--json").document
    assert document["rows"] == 18
    assert document["excluded"] == {"no_chest": 2, "spacing_missing": 2}
    assert document["splits"]["train"]["num_samples"] == 7
    assert document["splits"]["valid"]["num_shards"] == 2


def test_a_trial_is_planned_as_it_would_be_built(medassets: Medassets, lungs: Declare) -> None:
    options = ("--limit", "5", "--samples-per-shard", "2")
    document = medassets("plan", "lungs", *options, "--json").document
    assert document["held"] == 9
    assert document["new_shards"] == ["train-000000", "train-000001", "train-000002"]
    assert "held for a build without --limit: 9 samples" in medassets("plan", "lungs", *options).out


def test_a_plan_that_leaves_out_too_much_fails_with_the_counts(
    medassets: Medassets, lungs: Declare
) -> None:
    lungs(max_excluded_share=0.05)
    ran = medassets("plan", "lungs")
    assert ran.code == 1
    assert ran.out.startswith(
        "lungs: 18 source items = 0 done + 0 rejected + 4 excluded (no_chest 2"
    )
    assert "2 of 16 source items that are there cannot be used (spacing_missing 2)" in ran.err
    assert "max_excluded_share = 0.05" in ran.err
    found = re.search(r"`medassets build lungs --set max_excluded_share=([0-9.]+)`", ran.err)
    assert found is not None
    lungs(max_excluded_share=float(found[1]))
    assert medassets("plan", "lungs").code == 0


def test_a_plan_of_nothing_fails_where_items_are_there(
    medassets: Medassets, declare: Declare, tmp_path: Path
) -> None:
    tar = write_tar(tmp_path / "train.tar", [make_sample(1)])
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content.rstrip(b"\0")) // 512 * 512 + 512])
    changes: dict[str, Any] = {
        "source": "webdataset",
        "shards": str(tar),
        "splits": ["train"],
        "label_names": ["one", "two"],
        "hu_rule": "none",
    }
    declare("tars", **changes)
    ran = medassets("plan", "tars")
    assert ran.code == 1
    assert "tars: 1 source item = 0 done + 0 rejected + 1 excluded (corrupt_tar 1)" in ran.out
    assert "nothing to build: 1 row, and none is planned" in ran.err
    advice = next(line for line in ran.err.splitlines() if line.startswith("  1 corrupt_tar: "))
    assert "declare `accept_unterminated: true`" in advice
    planned = medassets("plan", "tars", "--json")
    assert (planned.code, planned.document["excluded"]) == (1, {"corrupt_tar": 1})


@pytest.mark.slow
def test_a_build_of_a_plan_that_leaves_out_too_much_makes_nothing(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    lungs(max_excluded_share=0.05)
    ran = medassets("build", "lungs", "--json")
    assert ran.code == 1
    assert "2 of 16 source items" in ran.document["failed"]["catalog"]
    assert ran.document["accounts"] == {}
    assert not (home / "data/lungs/catalog.parquet").exists()


def test_a_plan_after_a_build_shows_what_is_left(medassets: Medassets, built: Path) -> None:
    assert "left: nothing; all 4 shards are made" in medassets("plan", "lungs").out
    (built / "train" / "shard-000000.tar").unlink()
    ran = medassets("plan", "lungs")
    assert "left: 1 of 4 shards, 4 samples" in ran.out
    document = medassets("plan", "lungs", "--json").document
    assert document["left"]["train"]["num_samples"] == 4
    assert document["left"]["valid"]["num_shards"] == 0
    assert document["splits"]["train"]["num_samples"] == 7


def test_a_plan_warns_of_a_disk_that_is_too_small(medassets: Medassets, lungs: Declare) -> None:
    # 14 samples of 137 GB.
    lungs(target_shape=[4096, 4096, 4096])
    ran = medassets("plan", "lungs")
    assert ran.code == 4
    assert "disk: 1.9 TB needed" in ran.err
    assert "too little" in ran.err


def test_local_files_are_read_and_cost_their_own_bytes(
    medassets: Medassets, declare: Declare, tmp_path: Path
) -> None:
    folder = make_tree(tmp_path / "scans", [f"case_{n}.nii.gz" for n in range(4)])
    fields: dict[str, Any] = {"layout": "tree", "patient_from": "file", "splits": ["train"]}
    declare("scans", source="folder", folder=str(folder), hu_rule="header", **fields)
    ran = medassets("plan", "scans")
    assert ran.code == 0
    assert "to read" in ran.out
    assert "to fetch" not in ran.out
    document = medassets("plan", "scans", "--json").document
    num_bytes = sum(file.stat().st_size for file in folder.iterdir())
    assert document["splits"]["train"]["raw_bytes"] == num_bytes


def test_files_that_cannot_be_read_are_no_work(
    medassets: Medassets, declare: Declare, tmp_path: Path
) -> None:
    folder = make_tree(tmp_path / "scans", [f"case_{n}.nii.gz" for n in range(4)])
    (folder / "case_1.nii.gz").write_bytes(b"no volume")
    fields: dict[str, Any] = {"layout": "tree", "patient_from": "file", "splits": ["train"]}
    declare("scans", source="folder", folder=str(folder), max_rejected_share=0.2, **fields)
    ran = medassets("plan", "scans")
    assert ran.code == 0
    assert "those of all planned samples were looked at, no voxel was read; 1 sample" in ran.err
    assert "  case_1: corrupt_gzip" in ran.err
    assert "`medassets build scans --set max_rejected_share=0.25`" in ran.err
    assert "left: 1 of 1 shard, 3 samples" in ran.out
    document = medassets("plan", "scans", "--json").document
    assert document["left"]["train"]["num_samples"] == 3
    assert list(document["looked_at"]["faults"]) == ["case_1"]


def test_what_is_left_after_a_build_costs_nothing(medassets: Medassets, built: Path) -> None:
    out = medassets("plan", "lungs").out
    costs = [line.split("│")[4:7] for line in out.splitlines() if "│" in line]
    assert [[cost.strip() for cost in row] for row in costs] == [["0 B", "0 B", "0:00:00"]] * 2
    assert "disk: 0 B needed" in out

"""How a tree was joined and split reaches whoever plans and builds: by the command, on whole datasets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.notes.trees import describe_texts, describe_tree
from medassets.volumes.catalog.tree.figures import JoinFigures, TreeFigures
from medassets_tests.trees import SMALL, make_tree

Medassets = Callable[..., Any]

FIGURES = TreeFigures(
    prefix=(),
    split_by="hash",
    patients_from="folder",
    patients={"train": 1200, "valid": 3},
    leaks={"p1": ["train", "valid"]},
    join=JoinFigures("m.csv", "stem", 4, 1, 0, 3, 6, 0),
    hidden_folders=[".git"],
    doubts=["split test gets no volume, by hash"],
)


def test_the_join_the_splits_and_the_doubts_are_told() -> None:
    assert describe_tree({"tree": FIGURES.describe()}) == [
        "table m.csv, joined by stem: 4 files have a row, 1 have none; 3 rows have a file, 6 have none",
        "splits by a seeded hash: train 1,200, valid 3 (patients, by folder)",
        "accepted: 1 patients are in several splits, such as p1",
        "hidden folders, not entered: 1, such as .git",
        "doubt: split test gets no volume, by hash",
    ]
    bare = TreeFigures((), "folder", "file", {"train": 2})
    assert describe_tree({"tree": bare.describe()}) == [
        "splits by the names of folders: train 2 (files, of which nothing names the patient)"
    ]
    assert describe_tree({}) == describe_texts({}) == []


def test_samples_with_report_and_labels_are_told() -> None:
    found = describe_texts({"texts": {"samples": 5, "report": 4, "labels": 0}})
    assert found == ["reports: 4 of 5 samples; labels: 0"]


@pytest.mark.slow
def test_five_files_become_shards_without_a_table(
    medassets: Medassets, declare: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_tree(tmp_path / "five", [f"scan {n}.nii.gz" for n in range(5)])
    declare("bare", source="folder", layout="tree", folder=str(folder), hu_rule="header", **SMALL)
    for command in ("plan", "build", "verify"):
        assert medassets(command, "bare").code == 0
    status = medassets("status", "bare", "--json").document
    assert status["account"]["done"] == 5
    assert status["texts"] == {"samples": 5, "report": 0, "labels": 0}


@pytest.mark.slow
def test_five_files_become_shards_with_one_table(
    medassets: Medassets, declare: Callable[..., Path], tmp_path: Path
) -> None:
    folder = make_tree(tmp_path / "five", [f"scan {n}.nii.gz" for n in range(5)])
    rows = "".join(f"scan {n};p{n};text {n};{n % 2}\n" for n in range(5))
    (folder / "meta.csv").write_text(f"id;who;text;nodule\n{rows}extra;p9;x;1\n", "utf-8-sig")
    columns = {"file": "id", "patient": "who", "report": ["text"], "labels": ["nodule"]}
    fields = {"folder": str(folder), "table": "meta.csv", "columns": columns}
    declare("table", source="folder", layout="tree", hu_rule="header", **fields, **SMALL)
    plan = medassets("plan", "table")
    assert "table meta.csv, joined by stem: 5 files have a row, 0 have none" in plan.out
    assert medassets("build", "table").code == medassets("verify", "table").code == 0
    assert "5 rows have a file, 1 have none" in medassets("status", "table").out
    document = medassets("status", "table", "--json").document
    assert document["tree"]["join"]["rows_unmatched"] == 1
    assert document["account"]["done"] == 5


@pytest.mark.slow
def test_volumes_that_are_not_hu_become_shards_and_nothing_of_hu_is_written(
    medassets: Medassets, declare: Callable[..., Path], tmp_path: Path, home: Path
) -> None:
    folder = make_tree(tmp_path / "five", [f"{n}/t1.nii.gz" for n in range(3)], slope=0.25)
    fields = {"source": "folder", "layout": "tree", "folder": str(folder), "requires": []}
    file = declare("mr", preprocessing="mr_percentile", **fields, **SMALL)
    refused = medassets("plan", "mr")
    assert refused.code != 0
    assert "hu_rule" in refused.err
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(line for line in lines if "hu_rule" not in line))
    for command in ("plan", "build", "verify", "status"):
        ran = medassets(command, "mr")
        assert ran.code == 0, ran.err
        assert "HU" not in ran.out
    data = home / "data" / "mr"
    written = [path.read_bytes() for path in data.rglob("*") if path.suffix in (".json", ".tar")]
    assert len(written) > 3
    for name in (b"plausible_share", b"air_share", b"hu_rule", b"hu_shares", b"clip_hu"):
        assert not any(name in content for content in written)
    assert b'"value_range"' in b"".join(written)

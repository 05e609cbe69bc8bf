"""Deleted sources and the plan: nothing of a shard that cannot be made again may change."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.errors import CatalogError, ReclaimError
from medassets.shards.files import read_whole_record
from medassets_tests.reclaim.reclaiming import FIRST, LAST, Made, whys


def edit_reports(made: Made, change: Callable[[list[dict[str, str]]], object]) -> None:
    path = made.tree.folder / made.tree.fields()["reports_file"]
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_refresh_that_was_drafted_before_a_deletion_is_refused(
    made: Made, tmp_path: Path
) -> None:
    made.add_files(tmp_path)
    workspace = made.open()
    draft = draft_catalog(workspace)
    assert draft.plan.partitions[LAST] == 3
    made.reclaim(LAST)
    with pytest.raises(CatalogError, match=f"{LAST}: its sources were deleted meanwhile"):
        publish_catalog(workspace.paths, draft)
    plan = made.refresh().read_plan()
    assert (plan.partitions[LAST], plan.partitions["train-000003"]) == (1, 2)


def test_a_corrected_report_does_not_outdate_a_shard_that_cannot_be_made_again(made: Made) -> None:
    np.savez(made.tree.place("train_1_a_2"), data=np.zeros((5, 7, 11)))
    made.refresh()
    made.build(FIRST)
    report = made.reclaim(FIRST)
    assert whys(report)["train_1_a_2"].startswith("a sample of it was rejected")
    before = made.shards
    edit_reports(made, lambda rows: [row.update(Findings_EN="Corrected.") for row in rows])
    workspace = made.refresh()
    plan = workspace.read_plan()
    rows = [item.row["report_findings"] for item in workspace.read_partition(FIRST)]
    assert "Corrected." not in rows
    made.build(FIRST)
    assert made.shards == before
    # The others have their sources, and follow the table.
    assert {item.row["report_findings"] for item in workspace.read_partition(LAST)} == {
        "Corrected."
    }
    assert read_whole_record(workspace.paths, FIRST) is not None
    assert plan.num_rows == 7


def test_files_that_were_brought_back_let_their_shard_be_made_again(made: Made) -> None:
    studies = made.studies(FIRST)
    made.reclaim(FIRST)
    made.shard(FIRST).unlink()
    with pytest.raises(ReclaimError, match="were deleted after they were proven"):
        made.build(FIRST)
    for study in studies:
        made.tree.place(study).write_bytes(made.originals.files[study])
    made.refresh()
    made.build(FIRST)
    assert len(made.reclaim(FIRST).deleted) == 3
    assert len(made.left) == 4


def test_other_arrays_of_a_file_go_only_where_that_is_declared(made: Made) -> None:
    place = made.tree.place("train_1_a_1")
    np.savez_compressed(place, data=made.tree.read("train_1_a_1"), metadata=np.arange(3))
    made.refresh()
    made.build(FIRST)
    kept = whys(made.reclaim(FIRST))
    assert kept == {
        "train_1_a_1": "it also holds the arrays metadata, in no shard (see ignored_members)"
    }
    assert place.exists()
    assert not made.reclaim(FIRST, ignored_members=("metadata",)).kept
    assert not place.exists()

"""What a run reports: freed bytes, kept files, and what needs attention."""

import os
from pathlib import Path

import numpy as np

from medassets.reclaim.partition import is_reclaimed
from medassets.reclaim.report import Kept, ReclaimReport
from medassets_tests.reclaim.reclaiming import FIRST, LAST, Made, whys


def test_files_of_rejected_samples_are_kept_and_are_no_problem(made: Made) -> None:
    study = made.studies()[0]
    place = made.tree.place(study)
    values = made.tree.read(study).astype(np.float32)
    values[1, 2, 3] = np.nan
    np.savez_compressed(place, data=values)
    content = place.read_bytes()
    made.refresh()
    made.build(FIRST)
    report = made.reclaim()
    assert whys(report)[study].startswith(f"a sample of it was rejected: {study}: ")
    assert (report.troubles, len(report.deleted)) == ([], 2)
    assert place.read_bytes() == content
    assert is_reclaimed(made.open(), FIRST)


def test_a_file_with_another_name_frees_nothing(made: Made, tmp_path: Path) -> None:
    study = made.studies(LAST)[0]
    os.link(made.tree.place(study), tmp_path / "other-name.npz")
    made.refresh()
    report = made.reclaim(LAST)
    assert (len(report.deleted), report.freed_bytes) == (1, 0)


def test_a_report_lists_problems_of_the_shard_before_files_that_need_attention() -> None:
    report = ReclaimReport(FIRST, confirmed=True, problems=["the tar is damaged"])
    report.kept = [
        Kept("a.npz", 10, "its folder is read-only", is_trouble=True),
        Kept("b.npz", 20, "a sample of it was rejected", is_trouble=False),
    ]
    assert report.troubles == ["the tar is damaged", "a.npz: its folder is read-only"]


def test_a_report_of_nothing_frees_nothing_and_needs_no_attention() -> None:
    report = ReclaimReport(FIRST, confirmed=False)
    assert (report.freed_bytes, report.troubles) == (0, [])


def test_the_freed_bytes_are_the_sizes_of_the_deleted_files(made: Made) -> None:
    sizes = {study: made.tree.place(study).stat().st_size for study in made.studies()}
    report = made.reclaim()
    assert report.freed_bytes == sum(sizes.values())
    assert {Path(one.path).stem: one.num_bytes for one in report.deleted} == sizes

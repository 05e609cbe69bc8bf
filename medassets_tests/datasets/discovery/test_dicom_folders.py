from pathlib import Path

from medassets.datasets.discovery.looking import propose
from medassets.datasets.discovery.proposal import Hints
from medassets_tests.datasets.discovery.test_census import fill

MARK = bytes(128) + b"DICM"


def test_files_without_an_ending_are_a_tree_of_series(tmp_path: Path) -> None:
    fill(tmp_path, "p1/IM0001", "p1/IM0002", "DICOMDIR", content=MARK)
    proposal = propose(tmp_path, Hints(hu_rule="none"))
    assert proposal.title == f"DICOM: 3 files in {tmp_path}"
    assert proposal.fields == {
        "source": "dicom",
        "folder": str(tmp_path),
        "splits": ["train", "valid"],
        "split_by": "hash",
        "hu_rule": "none",
        "orientation": "LPS",
        "preprocessing": "ct_clip",
    }
    assert proposal.doubts == []


def test_folders_may_name_splits_and_tables_have_no_effect(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/1.dcm", "test/b/1.dcm", content=MARK)
    fill(tmp_path, "reports.csv", content=b"a,b\n1,2\n")
    proposal = propose(tmp_path, Hints())
    assert (proposal.fields["splits"], proposal.fields["split_by"]) == (["train", "test"], "folder")
    assert "a table has no effect on DICOM" in proposal.doubts[0]
    fill(tmp_path, "c/1.dcm", content=MARK)
    assert "2 of 3 files are in folders that name a split" in propose(tmp_path, Hints()).doubts[0]

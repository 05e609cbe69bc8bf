from pathlib import Path
from typing import Any

from medassets.datasets.discovery.declaration import check_proposal, write_yaml
from medassets.datasets.discovery.looking import propose
from medassets.datasets.discovery.proposal import Hints
from medassets_tests.datasets.discovery.test_census import fill
from medassets_tests.dicoms import PERSON, write_series

MARK = bytes(128) + b"DICM"


def test_files_without_an_ending_are_a_tree_of_series(tmp_path: Path) -> None:
    write_series(tmp_path / "p1", num_slices=4)
    write_series(tmp_path / "p2", num_slices=4, number=1)
    for number, path in enumerate(sorted(tmp_path.rglob("*.*"))):
        path.rename(path.with_name(f"IM{number}"))
    proposal = propose(tmp_path, Hints(hu_rule="none"))
    assert proposal.title == f"DICOM: 8 files in {tmp_path}"
    assert proposal.facts[0] == "looked at 8 files of 2 series: modality CT (8)"
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
    check_proposal(proposal, "scans")
    said = f"{proposal.title} {proposal.facts} {write_yaml(proposal, 'scans')}"
    assert not any(value in said for value in PERSON.values())


def test_what_is_no_ct_is_a_doubt(tmp_path: Path) -> None:
    def change(_: int, dataset: Any) -> None:
        dataset.Modality = "MR"

    write_series(tmp_path / "mr", num_slices=3, change=change)
    fill(tmp_path, "DICOMDIR", "report", content=MARK)
    doubts = propose(tmp_path, Hints()).doubts
    assert "1 of 4 files hold no image" in doubts[0]
    assert "`modalities`, such as [MR]" in doubts[1]


def test_folders_may_name_splits_and_tables_of_other_things_are_not_used(tmp_path: Path) -> None:
    fill(tmp_path, "train/a/1.dcm", "test/b/1.dcm", content=MARK)
    fill(tmp_path, "reports.csv", content=b"a,b\n1,2\n")
    proposal = propose(tmp_path, Hints())
    assert (proposal.fields["splits"], proposal.fields["split_by"]) == (["train", "test"], "folder")
    assert any("not used, for no column names series" in doubt for doubt in proposal.doubts)
    assert "table" not in proposal.fields
    fill(tmp_path, "c/1.dcm", content=MARK)
    doubts = propose(tmp_path, Hints()).doubts
    assert any("2 of 3 files are in folders that name a split" in doubt for doubt in doubts)

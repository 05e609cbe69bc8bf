from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.declaration import check_proposal
from medassets.datasets.discovery.nifti_trees import propose_tree
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.errors import UsageError
from medassets_tests.trees import make_tree


def look(folder: Path, **hints: object) -> Proposal:
    proposal = propose_tree(take_census(folder), Hints(**hints), Clock(600))  # pyright: ignore[reportArgumentType]
    check_proposal(proposal, "scans")
    return proposal


def test_five_files_in_one_folder_are_five_patients(tmp_path: Path) -> None:
    make_tree(tmp_path, [f"{n}.nii.gz" for n in range(5)])
    proposal = look(tmp_path)
    assert proposal.fields == {
        "source": "folder",
        "layout": "tree",
        "folder": str(tmp_path),
        "splits": ["train", "valid"],
        "split_by": "hash",
        "hu_rule": "header",
        "orientation": "LPS",
        "preprocessing": "ct_clip",
    }
    assert proposal.doubts == []


def test_one_folder_below_is_a_doubt_about_patients(tmp_path: Path) -> None:
    make_tree(tmp_path, ["study/a.nii", "study/b.nii"])
    proposal = look(tmp_path)
    assert proposal.fields["patient_from"] == "file"
    assert "each is taken for a patient of its own" in proposal.doubts[0]


def test_folders_that_name_splits_are_splits(tmp_path: Path) -> None:
    make_tree(tmp_path, ["imagesTr/a.nii", "imagesTs/b.nii"])
    proposal = look(tmp_path)
    assert proposal.fields["splits"] == ["train", "test"]
    assert proposal.fields["split_by"] == "folder"


def test_masks_are_not_looked_at_unless_there_is_nothing_else(tmp_path: Path) -> None:
    make_tree(tmp_path / "both", ["s1/ct.nii", "s1/segmentations/liver.nii"])
    make_tree(tmp_path / "alone", ["segthor_1.nii", "segthor_2.nii"])
    assert "exclude" not in look(tmp_path / "both").fields
    assert "named like masks and left out: 1" in look(tmp_path / "both").facts[0]
    assert look(tmp_path / "alone").fields["exclude"] == []


def test_the_table_that_names_most_files_is_taken_and_others_are_named(tmp_path: Path) -> None:
    make_tree(tmp_path, [f"p{n}/scan{n}.nii" for n in range(4)])
    pd.DataFrame({"id": [f"scan{n}" for n in range(4)], "nodule": [0, 1, 0, 1]}).to_csv(
        tmp_path / "labels.csv", index=False
    )
    pd.DataFrame({"id": ["scan1"], "text": ["one"]}).to_csv(tmp_path / "few.csv", index=False)
    proposal = look(tmp_path)
    assert proposal.fields["table"] == "labels.csv"
    assert proposal.fields["columns"] == {"file": "id", "labels": ["nodule"]}
    assert proposal.fields["requires"] == []
    assert any("labels.csv; not used: few.csv" in doubt for doubt in proposal.doubts)


def test_named_columns_win_over_guessed_ones(tmp_path: Path) -> None:
    make_tree(tmp_path, ["scan0.nii", "scan1.nii"])
    frame = pd.DataFrame({"id": ["scan0", "scan1"], "grade": [3, 4], "nodule": [0, 1]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    columns = look(tmp_path, columns={"labels": ["grade"]}).fields["columns"]
    assert columns == {"file": "id", "labels": ["grade"]}
    with pytest.raises(UsageError, match=r"t.csv has no column stage; it has id, grade, nodule"):
        look(tmp_path, columns={"labels": ["stage"]})


def test_a_named_table_without_files_asks_for_the_column(tmp_path: Path) -> None:
    make_tree(tmp_path, ["scan0.nii", "scan1.nii"])
    pd.DataFrame({"a": ["x"], "b": [1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(UsageError, match=r"no column of t.csv names files; it has a, b"):
        look(tmp_path, table="t.csv")
    assert "table" not in look(tmp_path).fields


def test_values_without_air_are_a_doubt(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(4096, dtype="i2").reshape(16, 16, 16), np.diag([1, 1, 1, 1]))
    image.to_filename(tmp_path / "mr.nii")
    proposal = look(tmp_path)
    assert any("no CT, or not in HU" in doubt for doubt in proposal.doubts)


def test_few_folders_of_many_files_may_be_datasets(tmp_path: Path) -> None:
    make_tree(tmp_path, [f"{site}/{n}.nii" for site in ("lidc", "nlst") for n in range(10)])
    assert any("if each is a dataset" in doubt for doubt in look(tmp_path).doubts)


def test_files_without_a_transform_keep_their_axes(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.full((9, 8, 7), -1000, dtype="i2"), None)
    image.header["pixdim"][1:4] = 2
    image.to_filename(tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[252:256] = bytes(4)
    (tmp_path / "a.nii").write_bytes(content)
    proposal = look(tmp_path)
    assert "orientation" not in proposal.fields
    assert any("state no orientation" in doubt for doubt in proposal.doubts)


def test_a_table_that_names_no_file_is_a_doubt_with_examples(tmp_path: Path) -> None:
    make_tree(tmp_path, ["case_0.nii.gz", "case_1.nii.gz"])
    pd.DataFrame({"id": ["A1", "B2"], "nodule": [0, 1]}).to_csv(tmp_path / "t.csv", index=False)
    proposal = look(tmp_path)
    assert "table" not in proposal.fields
    (doubt,) = [doubt for doubt in proposal.doubts if "t.csv" in doubt]
    assert "column id with 'A1', 'B2'" in doubt
    assert "case_0.nii.gz and case_1.nii.gz" in doubt
    assert "--columns file=COLUMN" in doubt
    for options in ({"columns": {"file": "id"}}, {"table": "t.csv", "columns": {"file": "id"}}):
        proposal = look(tmp_path, **options)
        assert proposal.notes["table"] == "names 0 of 2 files"
        assert not any("not used" in doubt for doubt in proposal.doubts)
        assert any("names none of 2 files" in doubt for doubt in proposal.doubts)


def test_columns_without_effect_are_named(tmp_path: Path) -> None:
    make_tree(tmp_path, ["case_0.nii.gz", "case_1.nii.gz"])
    cells = {"id": ["case_0", "case_1"], "grade": [3, 5]}
    pd.DataFrame(cells).to_csv(tmp_path / "t.csv", index=False)
    assert any("columns without effect: grade" in fact for fact in look(tmp_path).facts)


def test_a_sheet_is_named_where_there_are_several(tmp_path: Path) -> None:
    make_tree(tmp_path, ["case_0.nii.gz"])
    with pd.ExcelWriter(tmp_path / "t.xlsx") as writer:
        pd.DataFrame({"a": [1]}).to_excel(writer, sheet_name="one", index=False)
        frame = pd.DataFrame({"id": ["case_0"], "mass": [1]})
        frame.to_excel(writer, sheet_name="two", index=False)
    assert any("--columns sheet=NAME" in doubt for doubt in look(tmp_path).doubts)
    fields = look(tmp_path, table="t.xlsx", columns={"sheet": "two"}).fields
    assert fields["columns"] == {"file": "id", "labels": ["mass"], "sheet": "two"}

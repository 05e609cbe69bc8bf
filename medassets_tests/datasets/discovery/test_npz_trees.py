import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.declaration import check_proposal
from medassets.datasets.discovery.npz_trees import propose_npz
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.errors import UsageError
from medassets.testing.npz_tree import make_npz_tree


def look(folder: Path, **hints: str) -> Proposal:
    proposal = propose_npz(take_census(folder), Hints(**hints), Clock(600))  # pyright: ignore[reportArgumentType]
    check_proposal(proposal, "scans")
    return proposal


def test_tables_are_found_by_their_columns(tmp_path: Path) -> None:
    tree = make_npz_tree(tmp_path)
    proposal = look(tmp_path)
    assert proposal.fields == tree.fields()
    assert proposal.doubts == []


def test_a_rule_for_hu_resamples(tmp_path: Path) -> None:
    make_npz_tree(tmp_path)
    fields = look(tmp_path, hu_rule="none").fields
    assert (fields["hu_rule"], fields["preprocessing"]) == ("none", "ct_clip")


def test_splits_with_tables_of_their_own_share_a_pattern(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        make_npz_tree(tmp_path / split, split=split)
        (tmp_path / "vols").mkdir(exist_ok=True)
        (tmp_path / split / "npz").rename(tmp_path / "vols" / split)
        shutil.copytree(tmp_path / split / "dataset", tmp_path / "dataset", dirs_exist_ok=True)
        shutil.rmtree(tmp_path / split)
    fields = look(tmp_path).fields
    assert fields["splits"] == ["train", "valid"]
    assert fields["volumes_dir"] == "vols/{split}"
    assert fields["meta_file"] == "dataset/metadata/{split}_metadata.csv"


def test_the_array_is_the_only_one_that_is_a_volume(tmp_path: Path) -> None:
    tree = make_npz_tree(tmp_path, key="vol")
    for study in tree.paths:
        np.savez(tree.place(study), vol=tree.read(study, "vol"), spacing=np.ones(3))
    assert look(tmp_path).fields["array_key"] == "vol"
    for study in tree.paths:
        volume = np.zeros((4, 5, 6))
        np.savez(tree.place(study), one=volume, two=volume)
    with pytest.raises(UsageError, match=r"which array is the volume. files have one, two"):
        look(tmp_path)
    assert look(tmp_path, array_key="two", hu_rule="none").fields["array_key"] == "two"


def test_without_a_table_of_spacings_it_is_asked_for(tmp_path: Path) -> None:
    make_npz_tree(tmp_path)
    shutil.rmtree(tmp_path / "dataset" / "metadata")
    with pytest.raises(UsageError, match=r"XYSpacing, ZSpacing: name it with --meta-file"):
        look(tmp_path)


def test_without_rescaling_values_decide_or_the_user_does(tmp_path: Path) -> None:
    tree = make_npz_tree(tmp_path)
    meta = tmp_path / tree.fields()["meta_file"]
    frame = pd.read_csv(meta).drop(columns=["RescaleSlope", "RescaleIntercept"])
    frame.to_csv(meta, index=False)
    assert look(tmp_path).fields["hu_rule"] == "none"
    for study in tree.paths:
        np.savez(tree.place(study), data=tree.read(study) + np.int16(1024))
    with pytest.raises(UsageError, match="--hu-rule none"):
        look(tmp_path)


def test_a_tree_without_reports_does_not_require_them(tmp_path: Path) -> None:
    make_npz_tree(tmp_path)
    shutil.rmtree(tmp_path / "dataset" / "radiology_text_reports")
    assert look(tmp_path).fields["requires"] == ["labels"]


def test_reports_need_findings_and_impressions_only(tmp_path: Path) -> None:
    tree = make_npz_tree(tmp_path)
    reports = tree.folder / tree.fields()["reports_file"]
    frame = pd.read_csv(reports)
    frame.drop(columns=["ClinicalInformation_EN", "Technique_EN"]).to_csv(reports, index=False)
    proposal = look(tmp_path)
    assert proposal.fields == tree.fields()
    assert proposal.doubts == []
    lacking = "reports without ClinicalInformation_EN, Technique_EN: samples have no such section"
    assert lacking in proposal.facts
    frame.drop(columns=["Findings_EN", "Impressions_EN"]).to_csv(reports, index=False)
    proposal = look(tmp_path)
    assert proposal.fields["requires"] == ["labels"]
    (doubt,) = proposal.doubts
    assert "it lacks Findings_EN, Impressions_EN" in doubt


def test_tables_without_a_role_say_why(tmp_path: Path) -> None:
    make_npz_tree(tmp_path)
    (tmp_path / "a.csv").write_text("volume_name,x\na,1\n")
    (tmp_path / "b.csv").write_text('VolumeName,score\na,"0,5"\n')
    pd.DataFrame({"VolumeName": ["a"]}).to_excel(tmp_path / "c.xlsx", index=False)
    doubts = look(tmp_path).doubts
    assert len(doubts) == 3
    assert "a.csv is not used: no column VolumeName; did you mean volume_name?" in doubts[0]
    assert "name it with --labels-file" in doubts[1]
    assert "save it as CSV" in doubts[2]

import shutil
from pathlib import Path

import pytest

from medassets.datasets.discovery.census import Clock, take_census
from medassets.datasets.discovery.ct_rate_layouts import (
    describe_bare,
    find_ct_rate,
    has_metadata,
    propose_ct_rate,
)
from medassets.datasets.discovery.declaration import check_proposal
from medassets.datasets.discovery.proposal import Hints, Proposal
from medassets.errors import UsageError
from medassets.testing.ct_rate import SyntheticRepository


@pytest.fixture
def folder(repository: SyntheticRepository, tmp_path: Path) -> Path:
    return shutil.copytree(repository.folder, tmp_path / "ct" / "rate")


def look(top: Path, **hints: str) -> Proposal:
    census = take_census(top)
    found = find_ct_rate(census)
    assert found is not None
    assert has_metadata(found)
    proposal = propose_ct_rate(census, found, Hints(**hints), Clock(600))  # pyright: ignore[reportArgumentType]
    check_proposal(proposal, "rate")
    return proposal


def test_the_layout_is_found_also_below_the_folder(folder: Path) -> None:
    for top in (folder, folder.parent):
        fields = look(top).fields
        assert fields["folder"] == str(folder)
        assert fields["layout"] == "ct_rate"
        assert fields["splits"] == ["train", "valid"]
        assert fields["hu_rule"] == "none"
        assert "volumes_dir" not in fields


def test_the_first_version_takes_hu_from_the_table(folder: Path) -> None:
    for split in ("train", "valid"):
        (folder / f"dataset/{split}_fixed").rename(folder / f"dataset/{split}")
    fields = look(folder).fields
    assert fields["volumes_dir"] == "dataset/{split}"
    assert fields["hu_rule"] == "table"
    assert look(folder, hu_rule="none").fields["hu_rule"] == "none"


def test_missing_tables_of_reports_are_named_and_not_required(folder: Path) -> None:
    shutil.rmtree(folder / "dataset/radiology_text_reports")
    proposal = look(folder)
    assert proposal.fields["requires"] == ["labels"]
    assert "train_reports.csv" in proposal.doubts[0]


def test_volumes_without_metadata_are_no_such_layout(folder: Path) -> None:
    shutil.rmtree(folder / "dataset/metadata")
    found = find_ct_rate(take_census(folder))
    assert found is not None
    assert not has_metadata(found)
    assert "train_metadata.csv" in describe_bare(found, folder)


def test_two_layouts_are_refused_by_name(folder: Path) -> None:
    shutil.copytree(folder, folder.parent / "other")
    with pytest.raises(UsageError, match="2 datasets in the layout of CT-RATE: other, rate"):
        find_ct_rate(take_census(folder.parent))


def test_other_folders_are_no_such_layout(tmp_path: Path) -> None:
    (tmp_path / "train_1.nii.gz").touch()
    assert find_ct_rate(take_census(tmp_path)) is None

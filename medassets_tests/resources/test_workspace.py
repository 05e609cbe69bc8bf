"""The one resource: roots on disk, opened only when they are used."""

from pathlib import Path

from medassets.datasets.volumes import VolumeDataset
from medassets.resources.workspace import WorkspaceResource
from medassets_tests.location import Location


def test_folders_are_those_of_the_home_at_the_time_of_use(location: Location, home: Path) -> None:
    opened = WorkspaceResource().open(VolumeDataset(location.spec))
    assert opened.paths.folder == home / "data" / "tiny"
    assert opened.staging.folder == home / "staging" / "tiny"
    assert not home.exists()


def test_folders_can_be_chosen(location: Location, tmp_path: Path) -> None:
    resource = WorkspaceResource(data_root=str(tmp_path / "a"), staging_root=str(tmp_path / "b"))
    opened = resource.open(VolumeDataset(location.spec))
    assert opened.paths.folder == tmp_path / "a" / "tiny"
    assert opened.staging.folder == tmp_path / "b" / "tiny"
    assert resource.paths("tiny") == opened.paths


def test_the_budget_of_the_declaration_is_that_of_the_staging_area(location: Location) -> None:
    opened = WorkspaceResource(num_downloads=7).open(VolumeDataset(location.spec))
    assert opened.staging.budget_bytes == 200_000_000_000
    assert opened.num_downloads == 7

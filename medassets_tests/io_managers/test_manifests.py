"""What an asset downstream of the manifests receives."""

from pathlib import Path
from typing import Any

import pytest

from medassets_tests.io_managers.contract import UnpartitionedIOManagerContract, load_input
from medassets_tests.location import Location


class TestManifests(UnpartitionedIOManagerContract):
    """The manifests and wids indexes of a folder with one shard."""

    stage = "manifest"
    manager = "manifest_io_manager"

    @pytest.fixture
    def location(self, location: Location) -> Location:
        location.materialize("catalog")
        location.materialize("shards", partition="train-000000")
        return location

    def files(self, location: Location) -> list[Path]:
        paths = location.workspace.paths
        splits = ("train", "valid")
        return [f(split) for split in splits for f in (paths.manifest, paths.wids_index)]

    def expect(self, location: Location) -> Any:
        paths = location.workspace.paths
        return {split: paths.manifest(split) for split in ("train", "valid")}

    def change(self, location: Location) -> Location:
        location.materialize("shards", partition="train-000001")
        return location


def test_manifests_are_handed_over_by_split(location: Location) -> None:
    assert load_input(location, "manifest_io_manager", "manifest") == {}
    location.materialize("catalog")
    location.materialize("manifest")
    paths = location.workspace.paths
    expected = {split: paths.manifest(split) for split in ("train", "valid")}
    assert load_input(location, "manifest_io_manager", "manifest") == expected
    assert all(path.exists() for path in expected.values())
    assert all(paths.wids_index(split).exists() for split in expected)

"""What an asset downstream of catalog and manifest is handed."""

from typing import Any

import dagster as dg

from medassets.io_managers.catalog import CatalogFile
from medassets_tests.location import Location


def load(location: Location, manager: str, stage: str) -> Any:
    context = dg.build_input_context(asset_key=location.key(stage), instance=location.instance)
    return location.resources[manager].load_input(context)


def test_a_catalog_is_handed_over_unread(location: Location) -> None:
    path = location.workspace.paths.catalog
    assert load(location, "catalog_io_manager", "catalog") == CatalogFile(path)
    assert not path.exists()


def test_manifests_are_handed_over_by_split(location: Location) -> None:
    assert load(location, "manifest_io_manager", "manifest") == {}
    location.materialize("catalog")
    location.materialize("manifest")
    paths = location.workspace.paths
    expected = {split: paths.manifest(split) for split in ("train", "valid")}
    assert load(location, "manifest_io_manager", "manifest") == expected
    assert all(path.exists() for path in expected.values())
    assert all(paths.wids_index(split).exists() for split in expected)


def test_the_catalog_is_published_before_its_partitions_are_known(location: Location) -> None:
    location.materialize("catalog")
    location.instance.delete_dynamic_partition(location.spec.partitions_name, "valid-000001")
    # As after a kill between the two: the next refresh finds nothing new, and adds the key.
    location.materialize("catalog")
    assert "valid-000001" in location.keys

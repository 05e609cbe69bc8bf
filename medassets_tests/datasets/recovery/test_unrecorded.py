"""Shards without a usable record keep their members when the catalog is gone."""

from collections.abc import Callable

import pytest

from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.recovery.restore import find_lost_shards
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, LostCatalogError
from medassets.shards.manifest import write_manifest
from medassets_tests.datasets.recovery.growing import FIRST, Growing, build, read_members, refresh
from medassets_tests.small_shards import pack_tar

pytestmark = pytest.mark.slow  # whole builds


def _damage_record(workspace: Workspace, key: str) -> None:
    path = workspace.paths.record(key)
    path.write_bytes(path.read_bytes()[:400])


def _remove_record(workspace: Workspace, key: str) -> None:
    workspace.paths.record(key).unlink()


def _remove_shard(workspace: Workspace, key: str) -> None:
    workspace.paths.record(key).unlink()
    workspace.paths.shard(key).unlink()


def _publish_manifests(workspace: Workspace) -> None:
    for split, manifest in build_manifests(workspace).items():
        write_manifest(workspace.paths, split, manifest)


@pytest.mark.parametrize(
    ("number", "harm", "has_manifest"),
    [
        (0, _damage_record, True),
        (1, _damage_record, False),
        (1, _remove_record, True),
        (0, _remove_record, False),
        (0, _remove_shard, True),
    ],
)
def test_a_shard_without_a_record_keeps_its_members_after_the_source_grew(
    growing: Growing, harm: Callable[[Workspace, str], None], has_manifest: bool, number: int
) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    if has_manifest:
        _publish_manifests(workspace)
    members = read_members(workspace)
    key = list(before.partitions)[number]
    harm(workspace, key)
    growing.show(FIRST)
    workspace.paths.catalog.unlink()
    assert key in find_lost_shards(workspace, None)
    refresh(workspace)
    grown = read_members(workspace)
    assert {k: grown[k][: len(keys)] for k, keys in members.items()} == members


def test_a_dataset_of_damaged_records_alone_is_not_planned_anew(growing: Growing) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    members = read_members(workspace)
    for key in before.partitions:
        _damage_record(workspace, key)
    growing.show(FIRST)
    workspace.paths.catalog.unlink()
    with pytest.raises(LostCatalogError, match="medassets reconcile tiny"):
        workspace.read_plan()
    refresh(workspace)
    grown = read_members(workspace)
    assert {k: grown[k][: len(keys)] for k, keys in members.items()} == members


def test_a_shard_whose_members_nothing_tells_stops_the_restoration(growing: Growing) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    first = next(iter(before.partitions))
    _damage_record(workspace, first)
    workspace.paths.shard(first).write_bytes(b"damaged")
    workspace.paths.catalog.unlink()
    with pytest.raises(CatalogError, match=rf"{workspace.paths.record(first)}.*cannot be restored"):
        draft_catalog(workspace)


def test_a_foreign_tar_is_no_shard_of_a_plan_that_is_restored(growing: Growing) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    foreign = workspace.paths.shard("train-000001")
    _remove_shard(workspace, "train-000001")
    pack_tar(foreign, {"mine": {"txt": b"of another program"}})
    workspace.paths.catalog.unlink()
    draft = draft_catalog(workspace)
    assert "train-000001" not in draft.restored
    assert draft.plan.partitions == before.partitions
    assert foreign.exists()

"""A plan that is restored from the records of its shards."""

import json
import shutil
from pathlib import Path

import pytest

from medassets.datasets.build import today_fingerprint
from medassets.datasets.recovery.restore import (
    explain_loss,
    require_newest_plan,
)
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.status import Recorded, ShardState, shard_states
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, LostCatalogError, ShardIntegrityError
from medassets.shards.files import read_whole_record
from medassets_tests.datasets.recovery.growing import FIRST, Growing, build, read_members, refresh

pytestmark = pytest.mark.slow  # whole builds


def _forget_copies(workspace: Workspace) -> None:
    """Make the records as earlier versions wrote them."""
    for path in workspace.paths.folder.glob("*/shard-*.json"):
        document = json.loads(path.read_bytes())
        for name in ("plan", "rows", "made_from", "checksum"):
            document.pop(name, None)
        path.write_text(json.dumps(document))


@pytest.mark.parametrize("earlier", [False, True])
def test_a_lost_plan_is_the_same_plan_again(workspace: Workspace, earlier: bool) -> None:
    before = refresh(workspace)
    build(workspace)
    if earlier:
        _forget_copies(workspace)
    workspace.paths.catalog.unlink()
    draft = draft_catalog(workspace)
    assert draft.replaces is None
    assert list(draft.restored) == list(before.partitions)
    assert draft.new_partitions == []
    publish_catalog(workspace.paths, draft)
    assert workspace.read_plan() == before
    assert draft_catalog(workspace).restored == ()


@pytest.mark.parametrize("earlier", [False, True])
def test_shards_keep_their_members_after_the_source_grew_by_a_sample_that_sorts_first(
    growing: Growing, earlier: bool
) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    members = read_members(workspace)
    files = {p: p.read_bytes() for p in workspace.paths.folder.glob("*/shard-*.tar")}
    growing.show(FIRST)
    if earlier:
        _forget_copies(workspace)
    workspace.paths.catalog.unlink()
    after = refresh(workspace)
    grown = read_members(workspace)
    full = [key for key, count in before.partitions.items() if count == 2]
    assert [grown[key] for key in full] == [members[key] for key in full]
    # The short last shard of the split takes it, behind its own.
    assert sum(after.partitions.values()) == sum(before.partitions.values()) + 1
    states = shard_states(workspace, Recorded(list(before.partitions), ()))
    assert [states[key] for key in full] == [ShardState.DONE] * len(full)
    assert {p: p.read_bytes() for p in files} == files


def test_an_older_catalog_that_was_put_back_is_noticed_and_mended(
    growing: Growing, tmp_path: Path
) -> None:
    workspace = growing.workspace
    refresh(workspace, limit=3)
    older = shutil.copy2(workspace.paths.catalog, tmp_path / "older.parquet")
    now = refresh(workspace)
    build(workspace)
    shutil.copy2(older, workspace.paths.catalog)
    # Without a refresh, no shard is made smaller.
    short = list(workspace.read_plan().partitions)[-1]
    with pytest.raises(ShardIntegrityError, match=r"older catalog.*medassets reconcile"):
        build(workspace, short)
    with pytest.raises(LostCatalogError, match=r"older than the shards.*medassets reconcile tiny"):
        require_newest_plan(workspace)
    draft = draft_catalog(workspace)
    assert draft.restored
    assert explain_loss(workspace, draft.restored).startswith("tiny: the catalog is gone, or older")
    publish_catalog(workspace.paths, draft)
    assert workspace.read_plan() == now
    require_newest_plan(workspace)


def test_places_between_shards_that_were_never_made_get_the_samples_they_had(
    growing: Growing,
) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    members = read_members(workspace)
    last = list(before.partitions)[-1]
    build(workspace, last)
    workspace.paths.catalog.unlink()
    after = refresh(workspace)
    assert (after, read_members(workspace)) == (before, members)


def test_rows_whose_sources_are_gone_come_from_the_records(
    growing: Growing,
) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    first = next(iter(before.partitions))
    gone = workspace.read_partition(first)[0]
    growing.hide(gone.key)
    workspace.paths.catalog.unlink()
    after = refresh(workspace)
    assert after.digests[first] == before.digests[first]
    today = today_fingerprint(workspace, after, first)
    assert read_whole_record(workspace.paths, first, today) is not None


def test_rows_that_neither_source_nor_record_has_are_an_error_that_names_them(
    growing: Growing,
) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    _forget_copies(workspace)
    first = next(iter(before.partitions))
    gone = workspace.read_partition(first)[0]
    growing.drop(gone.key)
    workspace.paths.catalog.unlink()
    with pytest.raises(CatalogError, match=f"no longer has {gone.key}.*cannot be restored"):
        draft_catalog(workspace)


def test_an_edited_record_still_names_the_members_of_its_shard(growing: Growing) -> None:
    workspace = growing.workspace
    before = refresh(workspace)
    build(workspace)
    first = next(iter(before.partitions))
    path = workspace.paths.record(first)
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps({**document, "num_samples": 99}))
    growing.show(FIRST)
    workspace.paths.catalog.unlink()
    assert refresh(workspace).digests[first] == before.digests[first]
    build(workspace, first)
    assert json.loads(path.read_bytes()) == document

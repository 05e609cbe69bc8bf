"""The catalog of a dataset behind a Hub is lost: records restore its plan and its pins."""

import pytest

from medassets.datasets.build import today_fingerprint
from medassets.shards.files import read_whole_record
from medassets_tests.datasets.upstream.conftest import MovingDataset


def _is_current(moving: MovingDataset, key: str) -> bool:
    workspace = moving.workspace
    today = today_fingerprint(workspace, workspace.read_plan(), key)
    return read_whole_record(workspace.paths, key, today) is not None


@pytest.mark.parametrize("squashed", [False, True])
def test_built_shards_keep_revision_and_pins_though_the_hub_moved(
    moving: MovingDataset, squashed: bool
) -> None:
    before = moving.workspace.read_plan()
    rows = moving.rows()[:4]
    moving.grow()
    if squashed:
        moving.hub.squash()
    else:
        moving.hub.refresh()
    moving.workspace.paths.catalog.unlink()
    draft = moving.refresh()
    assert draft.restored == tuple(list(before.partitions)[:2])
    assert moving.rows()[:4] == rows
    for key in draft.restored:
        assert moving.workspace.read_plan().digests[key] == before.digests[key]
        assert _is_current(moving, key)
    sent = moving.sent()
    moving.build(0, 1)
    assert moving.sent() == sent

"""The name and inputs under which a run's try is noted."""

from collections.abc import Callable

import dagster as dg
import pytest

from medassets.datasets.build import today_fingerprint
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError
from medassets.instance.run_tags import AUTOMATED_TAG
from medassets.io_managers.tries import try_asset, try_shard
from medassets.testing.ct_rate import SyntheticRepository

BY_HAND = dg.DagsterRun("job", run_id="one")
AUTOMATED = dg.DagsterRun("job", run_id="two", tags={AUTOMATED_TAG: "yes"})


def test_a_shard_is_tried_with_the_inputs_of_today(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    workspace = open_folder(repository.folder)
    with pytest.raises(CatalogError, match="there is no catalog yet"):
        try_shard(workspace, "train-000000", BY_HAND)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    tried = try_shard(workspace, "train-000000", AUTOMATED)
    assert tried.item == "shards/train-000000"
    assert tried.plan == today_fingerprint(workspace, workspace.read_plan(), "train-000000")
    assert (tried.run, tried.is_automated) == ("two", True)
    assert try_shard(workspace, "train-000099", BY_HAND).plan == ""


def test_an_asset_without_partitions_has_its_name_alone(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    tried = try_asset(open_folder(repository.folder), "manifest", "inputs", BY_HAND)
    assert (tried.item, tried.plan, tried.run) == ("manifest", "inputs", "one")
    assert not tried.is_automated

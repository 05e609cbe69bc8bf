"""Files beside the shards that the plan does not account for."""

import json
from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.recovery.strays import find_strays
from medassets.datasets.workspace import Workspace
from medassets.errors import LostCatalogError

KEY = "train-000000"


def _move(workspace: Workspace, old: str, new: str) -> None:
    for path in (workspace.paths.shard, workspace.paths.record):
        path(old).rename(path(new))


def test_a_shard_that_no_plan_knows_is_a_stray(planned: Workspace) -> None:
    assert find_strays(planned) == []
    folder = planned.paths.split_folder("train")
    folder.mkdir(parents=True)
    strays = [folder / "shard-000099.tar", folder / "mine.tar"]
    for stray in strays:
        stray.touch()
    assert find_strays(planned) == [
        f"{strays[0]}: no plan knows this shard; move it away",
        f"{strays[1]}: no plan knows this tar; move it away",
    ]


def test_a_renamed_shard_is_named_with_its_own_place(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    _move(planned, KEY, "train-000099")
    (line,) = find_strays(planned)
    assert str(planned.paths.shard("train-000099")) in line
    assert f"its record is that of partition {KEY!r}" in line
    assert "medassets reconcile" in line


def test_a_shard_without_the_catalog_is_not_called_unplanned(planned: Workspace) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    planned.paths.catalog.unlink()
    with pytest.raises(LostCatalogError, match=r"has 1 shards on disk.*reconcile") as caught:
        planned.read_plan()
    assert str(planned.paths.catalog) in str(caught.value)


def test_an_edited_count_makes_a_shard_unusable(planned: Workspace, tmp_path: Path) -> None:
    from medassets.shards.files import read_whole_record

    build_shard(planned, planned.paths, plan_shard(planned, KEY))
    path = planned.paths.record(KEY)
    document = json.loads(path.read_bytes())
    document["num_samples"] += 1
    path.write_text(json.dumps(document))
    assert read_whole_record(planned.paths, KEY) is None

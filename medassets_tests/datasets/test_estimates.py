"""What a plan will cost."""

from dataclasses import replace

import pyarrow as pa
import pytest

from medassets.datasets.estimates import estimate_plan
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace


def test_an_estimate_counts_planned_samples_and_shards_of_each_split(workspace: Workspace) -> None:
    estimates = estimate_plan(workspace.kind, draft_catalog(workspace).table)
    assert list(estimates) == ["train", "valid"]
    assert {(e.num_samples, e.num_shards) for e in estimates.values()} == {(7, 3)}
    one = 2 * 24 * 20 * 12
    assert 7 * one < estimates["train"].shard_bytes < 7 * (one + 100_000)
    assert estimates["train"].raw_bytes > 0
    assert estimates["train"].seconds > 0


def test_held_samples_cost_nothing(workspace: Workspace) -> None:
    estimates = estimate_plan(workspace.kind, draft_catalog(workspace, limit=4).table)
    assert [e.num_samples for e in estimates.values()] == [4, 0]
    assert estimates["valid"].seconds == 0


def test_a_shard_of_the_full_grid_is_estimated_to_the_byte_of_its_voxels(
    workspace: Workspace,
) -> None:
    assert isinstance(workspace.kind, VolumeDataset)
    spec = replace(workspace.kind.spec, target_shape=(), target_spacing_mm=())
    estimate = VolumeDataset(spec).estimate({"num_slices": 336})
    assert estimate.sample_bytes == pytest.approx(480 * 480 * 240 * 2, rel=1e-3)
    assert estimate.raw_bytes == pytest.approx(102e6, rel=0.02)


def test_a_split_that_is_declared_no_more_is_still_counted(workspace: Workspace) -> None:
    table = draft_catalog(workspace).table
    assert isinstance(workspace.kind, VolumeDataset)
    kind = VolumeDataset(replace(workspace.kind.spec, splits=("train",)))
    assert list(estimate_plan(kind, table)) == ["train", "valid"]


def test_bytes_of_a_file_on_disk_are_counted_once(workspace: Workspace) -> None:
    table = draft_catalog(workspace).table
    rows = [row for row in table.to_pylist() if row["state"] == "planned"]
    changed = [{**row, "path": "one.nii.gz", "num_bytes": 1000} for row in rows]
    schema = table.schema
    for name, kind in (("num_bytes", pa.int64()), ("path", pa.string())):
        if name not in schema.names:
            schema = schema.append(pa.field(name, kind))
    estimates = estimate_plan(workspace.kind, pa.Table.from_pylist(changed, schema=schema))
    assert [one.raw_bytes for one in estimates.values()] == [1000, 1000]
    assert [one.num_samples for one in estimates.values()] == [7, 7]


def test_unreadable_files_cost_nothing_and_keep_their_shard(workspace: Workspace) -> None:
    table = draft_catalog(workspace).table
    keys = {row["key"] for row in table.to_pylist() if row["split"] == "train"}
    found = estimate_plan(workspace.kind, table, unreadable=keys)["train"]
    assert (found.num_samples, found.num_shards, found.raw_bytes, found.seconds) == (0, 3, 0, 0)

"""Which samples on disk were made from which rows, and taking them over."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from medassets.datasets.build import build_shard, plan_shard, stage_partition
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.upstream.built_samples import find_built_rows, find_reusable, open_built
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import DamagedTarError
from medassets.shards.writer import ensure_shard
from medassets.specs import CTWindowDatasetSpec, VolumeDatasetSpec
from medassets_tests.datasets.upstream.conftest import MovingDataset

KEY = "train-000000"


def test_rows_are_built_where_the_shard_is_whole_and_current(
    moving: MovingDataset, open_moving: Callable[..., MovingDataset]
) -> None:
    plan = moving.workspace.read_plan()
    built = find_built_rows(moving.workspace, plan, moving.workspace.read_partition)
    assert built.is_made.tolist() == built.is_held.tolist() == [True] * 4 + [False] * 3
    assert [digest is not None for digest in built.digests] == [True] * 4 + [False] * 3
    other = open_moving(target_shape=(12, 10, 6)).workspace
    found = find_built_rows(other, plan, other.read_partition)
    assert found.is_made.tolist() == [False] * 7
    assert found.is_held.tolist() == built.is_held.tolist()
    moving.workspace.paths.shard(KEY).write_bytes(b"cut off")
    assert (
        find_built_rows(moving.workspace, plan, moving.workspace.read_partition).is_made.tolist()[
            :4
        ]
        == [False] * 2 + [True] * 2
    )


def test_a_sample_is_taken_over_only_for_the_same_row_and_processing(
    moving: MovingDataset, open_moving: Callable[..., MovingDataset]
) -> None:
    items = moving.workspace.read_partition(KEY)
    record = moving.records()[KEY]
    assert set(find_reusable(moving.workspace, record, items)) == {item.key for item in items}
    moved = [replace(items[0], row={**items[0].row, "revision": "0" * 40}), items[1]]
    assert set(find_reusable(moving.workspace, record, moved)) == {items[1].key}
    other = open_moving(target_shape=(12, 10, 6)).workspace
    assert find_reusable(other, record, items) == {}


def test_a_shard_made_of_its_own_samples_has_the_same_bytes_and_fetches_nothing(
    moving: MovingDataset,
) -> None:
    before = moving.workspace.paths.shard(KEY).read_bytes()
    work = replace(plan_shard(moving.workspace, KEY, force=True), plan_fingerprint="another")
    built = open_built(moving.workspace, KEY, work.items)
    moving.hub.close()
    ensure_shard(
        moving.workspace.paths,
        replace(work, stage=built.staging(work.stage), encode=built.encoding(work.encode)),
    )
    assert moving.workspace.paths.shard(KEY).read_bytes() == before


def test_nothing_is_staged_for_samples_that_are_taken_over(moving: MovingDataset) -> None:
    moving.upload_again(moving.paths()[0])
    moving.hub.squash()
    moving.refresh(update=True)
    moving.hub.forget_requests()
    report = stage_partition(moving.workspace, KEY)
    assert report.num_files == 1
    assert set(moving.sent()) == {moving.paths()[0]}


def test_a_damaged_sample_is_not_taken_over(moving: MovingDataset) -> None:
    shard = moving.workspace.paths.shard(KEY)
    entry = moving.records()[KEY].samples[1]
    content = bytearray(shard.read_bytes())
    content[entry.members[0].offset] ^= 1
    shard.write_bytes(content)
    moving.upload_again(moving.paths()[0])
    moving.hub.squash()
    moving.refresh(update=True)
    with pytest.raises(DamagedTarError, match="build the tar again"):
        moving.build(0)


def open_kind_of(moving: MovingDataset, kind: str) -> Workspace:
    spec = moving.workspace.kind.spec
    common = {
        "name": kind,
        "repo_id": "org/moving",
        "endpoint": moving.hub.endpoint,
        "splits": spec.splits,
        "samples_per_shard": 2,
        "hu_rule": "none",
        "min_slices": 1,
    }
    if kind == "windows":
        windows = CTWindowDatasetSpec(**common, windows=("lung",))  # pyright: ignore[reportArgumentType]
        return open_workspace(CTWindows(windows))
    raw = VolumeDatasetSpec(**common, preprocessing="none")  # pyright: ignore[reportArgumentType]
    return open_workspace(VolumeDataset(raw))


@pytest.mark.parametrize("kind", ["windows", "raw"])
def test_samples_of_every_kind_of_a_remote_source_are_taken_over(
    moving: MovingDataset, kind: str
) -> None:
    workspace = open_kind_of(moving, kind)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
    items = workspace.read_partition(KEY)
    built = open_built(workspace, KEY, items)
    assert set(built.entries) == {item.key for item in items}
    rows = find_built_rows(workspace, workspace.read_plan(), workspace.read_partition)
    assert all(rows.digests[:2])

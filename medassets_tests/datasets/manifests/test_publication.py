"""Manifests of splits: only current shards count, and what is missing is named."""

import shutil
from collections.abc import Callable
from pathlib import Path

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests, list_keys
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets.testing.ct_rate import SyntheticRepository


def test_the_manifest_counts_the_classes_of_the_labels_table(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository, tmp_path: Path
) -> None:
    folder = tmp_path / "three_labels"
    shutil.copytree(repository.folder, folder)
    table = folder / "dataset/multi_abnormality_labels/train_predicted_labels.csv"
    lines = [line.split(",")[:4] for line in table.read_text(encoding="utf-8").splitlines()]
    table.write_text("\n".join(",".join(cells) for cells in lines) + "\n", encoding="utf-8")
    workspace = open_folder(folder, splits=("train",))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, "train-000000"))
    assert build_manifests(workspace)["train"]["num_classes"] == 3


def test_only_shards_of_the_current_plan_and_declaration_are_listed(
    planned: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    build_shard(planned, planned.paths, plan_shard(planned, "train-000000"))
    manifests = build_manifests(planned)
    assert [s["filename"] for s in manifests["train"]["shards"]] == ["shard-000000.tar"]
    assert manifests["train"]["missing_partitions"] == ["train-000001", "train-000002"]
    keys = [item.key for item in planned.read_partition("train-000000")]
    assert list_keys(manifests) == {"train": keys, "valid": []}
    changed = open_folder(repository.folder, target_shape=(8, 8, 8))
    assert list_keys(build_manifests(changed)) == {"train": [], "valid": []}

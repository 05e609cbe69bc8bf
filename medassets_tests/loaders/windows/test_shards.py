"""Masks that exist, built into shards by the windows kind, give the points they gave before."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import open_workspace
from medassets.loaders import CTWindowSparseSDF
from medassets.shards.manifest import write_manifest
from medassets.specs import CTWindowDatasetSpec
from medassets_tests.loaders.windows.window_data import make_mask, write_case

WINDOWS = {"soft_tissue": "soft_tissue_w400_l50", "vessel": "vessel_w600_l150"}
CASES = ("case_a", "case_b", "case_c")


@pytest.mark.parametrize("compression", ["none", "auto"])
def test_shards_of_old_masks_hold_their_points(
    home: Path, tmp_path: Path, compression: Any
) -> None:
    old = tmp_path / "old"
    for number, case in enumerate(CASES):
        for window, stem in enumerate(WINDOWS.values()):
            mask = make_mask(10 * number + window, share=0.1)
            mask[5:20, 3:25, 2:15] = True
            write_case(old / "processed", case, mask, stem=stem)
    spec = CTWindowDatasetSpec(
        name="masks",
        source="processed",
        folder=str(old),
        splits=("train",),
        windows=("soft_tissue", {"name": "vessel", "width": 600.0, "level": 150.0}),
        samples_per_shard=2,
        compression=compression,
    )
    workspace = open_workspace(CTWindows(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in ("train-000000", "train-000001"):
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))
    write_manifest(workspace.paths, "train", build_manifests(workspace)["train"])
    manifest = workspace.paths.manifest("train")
    for window in WINDOWS:
        before = CTWindowSparseSDF(str(old / "processed"), window_type=window)
        options: dict[str, Any] = {"cache_data": False, "precompute_sparse": False}
        after = CTWindowSparseSDF(str(manifest), window_type=window, **options)
        assert len(before) == len(after) == len(CASES)
        for one, other in zip(before, after, strict=True):  # pyright: ignore[reportArgumentType]
            expected, got = (np.unique(sample["sparse_index"], axis=0) for sample in (one, other))
            np.testing.assert_array_equal(got, expected)

"""Datasets that lose what they know."""

from pathlib import Path

import pytest

from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import open_workspace
from medassets.specs import VolumeDatasetSpec
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.datasets.recovery.growing import FIRST, Growing


@pytest.fixture
def growing(tmp_path: Path, home: Path) -> Growing:
    """The dataset, two samples a shard."""
    tree = make_npz_tree(tmp_path / "tree", shape=(5, 7, 11))
    fields = tree.fields(samples_per_shard=2, splits=(tree.split,), max_excluded_share=1.0)
    growing = Growing(tree, open_workspace(VolumeDataset(VolumeDatasetSpec(name="tiny", **fields))))
    growing.hide(FIRST)
    return growing

"""Trees of `.npz` files as a source."""

from pathlib import Path
from typing import Any

import numpy as np

from medassets.samples import SourceItem
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract


class TestNpzTree(VolumeSourceContract):
    required = ("folder", "array_key", "meta_file", "reports_file", "labels_file")

    def make(self, folder: Path) -> dict[str, Any]:
        made = make_npz_tree(folder, num_volumes=3, shape=(5, 7, 11), key="voxels")
        fields = made.fields(array_key="voxels", splits=("train",))
        return {name: value for name, value in fields.items() if name != "preprocessing"}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        with np.load(Path(fields["folder"]) / item.path) as arrays:
            return arrays["voxels"]

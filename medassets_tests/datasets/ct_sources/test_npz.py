"""Trees of `.npz` files as a source."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.errors import SpecError
from medassets.samples import SourceItem
from medassets.specs import VolumeDatasetSpec
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

    def test_tables_of_reports_and_labels_need_not_be_declared(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        bare = {k: v for k, v in fields.items() if k not in ("reports_file", "labels_file")}
        self.check_without_texts(bare, tmp_path)

    def test_all_missing_fields_are_named_together(self) -> None:
        with pytest.raises(SpecError, match=r"^reports_file: .*; and meta_file and labels_file$"):
            open_volume_source(
                VolumeDatasetSpec(name="n", source="npz", folder="/data", splits=("train",))
            ).check()

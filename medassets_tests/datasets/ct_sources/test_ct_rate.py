"""The layout of CT-RATE as a source, in a folder and on a hub."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.samples import SourceItem
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract


def read_stored(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj.get_unscaled())


class TestCTRateFolder(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        made = make_ct_rate_repository(folder, num_patients=2, splits=("train",))
        return {"source": "folder", "folder": str(made.folder)}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(Path(fields["folder"]) / item.path)


class TestCTRateHub(VolumeSourceContract):
    required = ("repo_id",)

    def make(self, folder: Path) -> dict[str, Any]:
        made = make_ct_rate_repository(folder, num_patients=2, splits=("train",))
        self.folder = made.folder
        return {"source": "huggingface", "repo_id": "org/ct"}

    @pytest.fixture
    def fields(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        made = make_ct_rate_repository(tmp_path / "source", num_patients=2, splits=("train",))
        self.folder = made.folder
        with LocalHub(made.folder, "org/ct") as hub:
            yield {
                "source": "huggingface",
                "repo_id": "org/ct",
                "endpoint": hub.endpoint,
                "use_token": False,
                "splits": ("train",),
                "hu_rule": "none",
                "max_rejected_share": 1.0,
                "max_excluded_share": 1.0,
            }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(self.folder / item.path)

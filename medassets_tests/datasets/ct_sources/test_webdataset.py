"""Existing WebDatasets as a source."""

from pathlib import Path
from typing import Any

import numpy as np

from medassets.samples import SourceItem
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract
from medassets_tests.volumes.foreign_tars import VOXELS, make_sample


class TestWebDatasetTars(VolumeSourceContract):
    required = ("shards",)

    def make(self, folder: Path) -> dict[str, Any]:
        from webdataset.writer import TarWriter

        for tar, keys in {"a.tar": ("0001", "0002"), "b.tar": ("0001",)}.items():
            place = folder / "train" / tar
            place.parent.mkdir(parents=True, exist_ok=True)
            with TarWriter(str(place)) as writer:
                for key in keys:
                    writer.write(make_sample(key, study_id=f"{tar[0]}_{key}"))
        names = ("one", "two")
        return {
            "source": "webdataset",
            "folder": str(folder),
            "shards": "{split}/*.tar",
            "label_names": names,
        }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return VOXELS

"""Datasets made of tars, whose sources may be deleted."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.reclaim.claims import Others
from medassets.reclaim.partition import reclaim_partition
from medassets.reclaim.report import ReclaimReport
from medassets.specs import VolumeDatasetSpec
from medassets_tests.npz_source import read_volumes

Sample = dict[str, Any]


def make_sample(number: int, **changes: Any) -> Sample:
    """Return a sample as plain `webdataset` writes it."""
    values = np.random.default_rng(number).integers(-1000, 1000, (5, 7, 11)).astype(np.int16)
    facts = {
        "study_id": f"train_{number:03d}_a_1",
        "shape": [5, 7, 11],
        "dtype": "int16",
        "XYSpacing": "[0.75, 0.5]",
        "ZSpacing": 1.5,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    return {
        "__key__": f"{number:04d}",
        "bin": values.tobytes(),
        "txt": f"report {number}",
        "cls": np.ones(2, "<f4").tobytes(),
        "json": facts,
        **changes,
    }


def write_tar(path: Path, samples: list[Sample]) -> Path:
    """Write a tar as plain `webdataset` does."""
    from webdataset.writer import TarWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


@dataclass(frozen=True)
class Tars:
    """A dataset made of tars.

    Attributes:
        folder: The source, and beside it what is published.
        samples_per_shard: Of ours.
    """

    folder: Path
    samples_per_shard: int

    def open(
        self, *, name: str = "tiny", shards: str = "shard-*.tar", samples_per_shard: int = 0
    ) -> Workspace:
        """Open it, or another dataset of the same tars."""
        spec = VolumeDatasetSpec(
            name=name,
            source="webdataset",
            folder=str(self.folder / "source"),
            shards=shards,
            splits=("train",),
            label_names=("one", "two"),
            preprocessing="none",
            samples_per_shard=samples_per_shard or self.samples_per_shard,
            delete_sources=True,
            max_rejected_share=1.0,
            max_excluded_share=1.0,
            num_workers=2,
        )
        return open_workspace(VolumeDataset(spec), data_root=str(self.folder / "data"))

    def write(self, counts: list[int], **changes: Any) -> None:
        """Write tars of so many samples each, numbered through."""
        number = 0
        for index, count in enumerate(counts):
            samples = [make_sample(number + i, **changes) for i in range(count)]
            write_tar(self.tar(index), samples)
            number += count

    def build(self) -> list[str]:
        """Plan and make all shards; return their keys."""
        workspace = self.open()
        publish_catalog(workspace.paths, draft_catalog(workspace))
        keys = list(workspace.read_plan().partitions)
        self.make(*keys)
        return keys

    def make(self, *keys: str) -> None:
        """Make shards."""
        workspace = self.open()
        for key in keys:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))

    def reclaim(self, key: str, *others: Workspace) -> ReclaimReport:
        """Delete what may go with a shard, beside other datasets."""
        return reclaim_partition(self.open(), key, confirmed=True, others=Others(others))

    def tar(self, index: int) -> Path:
        """Return one source."""
        return self.folder / "source" / f"shard-{index:06d}.tar"

    @property
    def left(self) -> list[int]:
        """Tars that are there."""
        return [index for index in range(10) if self.tar(index).exists()]

    def check(self, num_samples: int) -> None:
        """Fail if a sample is in no shard, or with other values."""
        volumes = dict(read_volumes(self.folder / "data" / "tiny"))
        assert len(volumes) == num_samples
        for number in range(num_samples):
            values = np.frombuffer(make_sample(number)["bin"], "<i2").astype("<f2")
            assert volumes[f"train_{number:03d}_a_1"] == values.tobytes()

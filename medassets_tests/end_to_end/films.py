"""What tests of whole builds of videos share: declared paths, and samples read from shards."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from medassets.shards.record import ShardRecord
from medassets.storage.paths import DatasetPaths
from medassets.testing.clip4mc import SyntheticVideos


def paths_of(made: SyntheticVideos) -> dict[str, str]:
    """Return the fields that name a folder's files."""
    return {
        "videos_dir": str(made.videos_dir),
        "info_csv": str(made.info_csv),
        "metadata": str(made.metadata),
    }


def read_samples(home: Any, stage: str = "frames") -> dict[str, dict[str, bytes]]:
    """Return the members of every sample of a stage by suffix, by key; offsets from the records."""
    paths = DatasetPaths(home.folder / "data", "films", stage)
    samples: dict[str, dict[str, bytes]] = {}
    for file in sorted(paths.split_folder("train").parent.glob("*/shard-*.json")):
        data = file.with_suffix(".tar").read_bytes()
        for sample in ShardRecord.read(file).samples:
            samples[sample.key] = {
                m.suffix: data[m.offset : m.offset + m.size_bytes] for m in sample.members
            }
    return samples


def read_frames(sample: Mapping[str, bytes]) -> np.ndarray:
    """Return the frames of a sample."""
    return np.load(io.BytesIO(sample["npy"]), allow_pickle=False)

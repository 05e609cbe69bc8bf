"""Small shards of volumes and clips: ours with records, and tars as other tools write them."""

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike
from medassets.samples import Encoded, EncodedSample, SourceItem, StagedFile
from medassets.shards.account import Account
from medassets.shards.manifest import build_manifest, write_manifest
from medassets.shards.record import ShardRecord
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.stages import VolumeStage
from medassets.storage.paths import DatasetPaths

Members = Sequence[tuple[str, BytesLike]]

NUM_LABELS = 18


def make_volume(number: int, shape: tuple[int, int, int]) -> npt.NDArray[np.float16]:
    """Return the volume of one sample, seeded by its number.

    Returns:
        float16, shape (h, w, d), values in [-1, 1].
    """
    values = np.random.default_rng(number).uniform(-1, 1, shape)
    return values.astype(np.float16)


def make_volume_members(number: int, shape: tuple[int, int, int]) -> Members:
    """Return the members that a build of CT volumes writes for one sample."""
    volume = make_volume(number, shape)
    described = {
        "study_id": f"study_{number}",
        "shape": list(shape),
        "dtype": "float16",
        "volume_shape": list(shape),
        "volume_dtype": "float16",
        "num_classes": NUM_LABELS,
    }
    return (
        ("bin", volume),
        ("txt", f"report {number}: ground-glass, 3 µm".encode()),
        ("cls", make_labels(number).tobytes()),
        ("json", json.dumps(described).encode()),
    )


def make_labels(number: int) -> npt.NDArray[np.float32]:
    """Return the labels of one sample, little-endian float32 (18,)."""
    return (np.arange(NUM_LABELS) + number).astype("<f4")


def make_findings(number: int) -> npt.NDArray[np.float32]:
    """Return labels of one sample that are 0 or 1, little-endian float32 (18,)."""
    return (np.arange(NUM_LABELS) % (number + 2) == 0).astype("<f4")


def make_shards(
    root: Path,
    counts: Sequence[int],
    members: Callable[[int], Members],
    *,
    dataset: str = "tiny",
    stage: str = VolumeStage.SHARDS,
    split: str = "train",
    kind: str = "",
) -> Path:
    """Write a split with the real writer.

    Args:
        root: Folder that holds datasets.
        counts: Samples of each shard; samples are numbered through.
        members: Makes the members of one sample; its key is `sample_<number>`.
        dataset: Name of the dataset.
        stage: Stage that the shards stand for.
        split: Name of the split.
        kind: What manifest and records say that the samples are; empty as in earlier versions.

    Returns:
        Path of the manifest.
    """
    paths = DatasetPaths(root, dataset, stage)
    staged = StagedFile(root / "source", "file:source", None, 0, "0" * 64)

    def encode(items: Sequence[SourceItem], _: StagedFile) -> Sequence[Encoded]:
        return [EncodedSample(i.key, tuple(members(int(i.row["number"])))) for i in items]

    records, number = [], 0
    for shard, count in enumerate(counts):
        items = tuple(
            SourceItem(f"sample_{n}", split, "source", None, {"number": n})
            for n in range(number, number + count)
        )
        number += count
        work = ShardWork(
            dataset=dataset,
            partition_key=f"{split}-{shard:06d}",
            items=items,
            plan_fingerprint="1" * 64,
            stage=lambda items: {item.key: staged for item in items},
            encode=encode,
            source={"uri": "file:", "revision": None},
            kind=kind,
        )
        records.append(ensure_shard(paths, work).record)
    manifest = build_manifest(
        split,
        records,
        dataset=dataset,
        kind=kind,
        sample_fields={},
        source={},
        account=Account(items=number, done=number),
        planned=[record.partition for record in records],
        num_held=0,
        samples_per_shard=max((record.num_samples for record in records), default=1),
        describe_shard=_say_nothing,
    )
    write_manifest(paths, split, manifest)
    return paths.manifest(split)


def _say_nothing(_: ShardRecord) -> dict[str, Any]:
    return {}


def pack_tar(
    path: Path,
    samples: Mapping[str, Mapping[str, bytes]] | Iterable[tuple[str, Mapping[str, bytes]]],
    *,
    tar_format: int = tarfile.PAX_FORMAT,
) -> None:
    """Write a tar by `tarfile`, members in the order given.

    Args:
        path: Where to.
        samples: Key -> suffix -> content.
        tar_format: `tarfile.PAX_FORMAT`, as webdataset's writer, `GNU_FORMAT` or `USTAR_FORMAT`.
    """
    pairs = samples.items() if isinstance(samples, Mapping) else samples
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=tar_format) as tar:
        for key, members in pairs:
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                # A fraction of a second makes a pax header before every member.
                info.mtime = 1.5
                tar.addfile(info, io.BytesIO(content))


def read_by_tarfile(path: Path) -> dict[str, tuple[int, int]]:
    """Return member name -> (offset, size) of a tar, by the standard library."""
    with tarfile.open(path) as tar:
        return {m.name.removeprefix("./"): (m.offset_data, m.size) for m in tar if m.isreg()}


def make_trainer_members(number: int, shape: tuple[int, int, int]) -> dict[str, bytes]:
    """Return the members bin, json, labels, txt as the public CT-CLIP trainer's script packs them."""
    described = {
        "study_id": f"study_{number}",
        "shape": list(shape),
        "dtype": "float16",
        "num_classes": NUM_LABELS,
    }
    return {
        "bin": make_volume(number, shape).tobytes(),
        "json": json.dumps(described).encode(),
        "labels": make_findings(number).tobytes(),
        "txt": f"findings {number} impressions".encode(),
    }

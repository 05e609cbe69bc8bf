"""A whole shard from a folder of volumes, beside inflate + kernel alone on the same threads."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.phantom import SPACING_MM, make_chest
from benchmarks.worker import measure, read_peak_bytes
from medassets.samples import SourceItem, StagedFile
from medassets.shards.writer import ShardWork, each_item, ensure_shard
from medassets.sources.folder import FolderSource
from medassets.specs import PRESETS, VolumeDatasetSpec
from medassets.storage.paths import DatasetPaths
from medassets.volumes.buffers import BufferPool
from medassets.volumes.preprocessing import preprocess_volume
from medassets.volumes.samples import encode_volume_sample

NUM_FILES = 2
SPEC = VolumeDatasetSpec(name="bench", source="folder", folder="unused")
HEADER = (
    "| workers | samples | shard s | floor s | share of the floor's speed | CPU s per sample, shard "
    "| CPU s per sample, floor | volumes/s | peak MB | stages (wall s, summed over threads) |"
)


def compare(folder: Path, *, num_rounds: int, num_samples: int = 12) -> list[str]:
    """Build shards and run their floor in turn; return the lines of a table.

    Every run is a process of its own that preprocesses one volume first, so that loading compiled
    code is not counted. The floor computes the same voxels on as many threads and writes nothing.

    Args:
        folder: Where volumes and shards are made; needs 110 MB per sample.
        num_rounds: Runs of each kind.
        num_samples: Samples of the shard.
    """
    for index in range(NUM_FILES):
        make_chest(folder / f"chest_{index}.nii.gz", seed=index)
    lines = [HEADER, "|" + "---|" * 10]
    for num_workers in (1, 2):
        runs: dict[str, list[dict[str, Any]]] = {"floor": [], "shard": []}
        for _ in range(num_rounds):
            for kind, done in runs.items():
                done.append(_run_apart(kind, folder, num_workers, num_samples))
        lines.append(_line(num_workers, num_samples, runs))
    return lines


def _line(num_workers: int, num_samples: int, runs: dict[str, list[dict[str, Any]]]) -> str:
    wall = {kind: median(run["wall_s"] for run in done) for kind, done in runs.items()}
    shares = (a["wall_s"] / b["wall_s"] for a, b in zip(runs["floor"], runs["shard"], strict=True))
    cpu = {kind: median(run["cpu_s"] for run in done) / num_samples for kind, done in runs.items()}
    peak = max(run["peak_bytes"] for run in runs["shard"])
    stages = sorted(runs["shard"][-1]["seconds"].items(), key=lambda item: -item[1])
    named = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages if seconds >= 0.01)
    return (
        f"| {num_workers} | {num_samples} | {wall['shard']:.2f} | {wall['floor']:.2f} | "
        f"{median(shares):.2f} | {cpu['shard']:.3f} | {cpu['floor']:.3f} | {num_samples / wall['shard']:.2f} | {peak / 1e6:.0f} | {named} |"
    )


def _run_apart(kind: str, folder: Path, num_workers: int, num_samples: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.shards", kind, str(folder)]
    done = subprocess.run(
        [*command, str(num_workers), str(num_samples)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def _run_floor(folder: Path, num_workers: int, num_samples: int, buffers: BufferPool) -> None:
    def preprocess(index: int) -> None:
        path = folder / f"chest_{index % NUM_FILES}.nii.gz"
        volume = preprocess_volume(
            path, preset=PRESETS["ct_clip"], spacing_mm=SPACING_MM, buffers=buffers
        )
        buffers.release(volume.array)

    with ThreadPoolExecutor(num_workers) as executor:
        for _ in executor.map(preprocess, range(num_samples)):
            pass


def _run_shard(folder: Path, num_workers: int, num_samples: int, buffers: BufferPool) -> Any:
    source = FolderSource(folder)

    def stage(items: Sequence[SourceItem]) -> Mapping[str, StagedFile]:
        files = source.describe([item.path for item in items])
        return {item.key: source.fetch(files[item.path]) for item in items}

    work = ShardWork(
        dataset="bench",
        partition_key="valid-000000",
        items=tuple(_make_item(index) for index in range(num_samples)),
        plan_fingerprint="0" * 64,
        stage=stage,
        stage_each=True,
        encode=each_item(
            partial(encode_volume_sample, spec=SPEC, fingerprint="0" * 64, buffers=buffers)
        ),
        source={"uri": source.uri, "revision": None},
        num_workers=num_workers,
        force=True,
    )
    return ensure_shard(DatasetPaths(folder / "out", "bench"), work)


def _make_item(index: int) -> SourceItem:
    path = f"chest_{index % NUM_FILES}.nii.gz"
    row: dict[str, Any] = {
        "patient": str(index),
        "scan": "a",
        "reconstruction": "1",
        "metadata": "{}",
        "report": "No finding.",
        **{
            f"report_{section}": None
            for section in ("clinical_information", "technique", "findings", "impressions")
        },
        "labels": [0.0] * 18,
        "label_names": [f"label_{number}" for number in range(18)],
        **dict(zip(("spacing_i", "spacing_j", "spacing_k"), SPACING_MM, strict=True)),
    }
    return SourceItem(f"valid_{index}_a_1", "valid", path, None, row)


def main(kind: str, folder: Path, num_workers: int, num_samples: int) -> None:
    """Run once and print the cost as JSON."""
    buffers = BufferPool()
    _run_floor(folder, 1, 1, buffers)
    run = _run_shard if kind == "shard" else _run_floor
    result, cost = measure(run, folder, num_workers, num_samples, buffers)
    shutil.rmtree(folder / "out", ignore_errors=True)
    seconds = dict(result.seconds) if result is not None else {}
    facts = {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_bytes": read_peak_bytes()}
    print(json.dumps({**facts, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

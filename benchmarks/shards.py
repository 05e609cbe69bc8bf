"""A whole shard beside inflate and kernel alone, on as many threads."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from isal import isal_zlib

from benchmarks.phantom import SPACING_MM, make_chest
from benchmarks.worker import measure, read_peak_bytes
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.samples import SourceItem, StagedFile, each_item
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.sources.folder import FolderSource
from medassets.specs import PRESETS, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.storage.paths import DatasetPaths
from medassets.volumes.files.nifti import NiftiReader
from medassets.volumes.grid.geometry import plan_resampling
from medassets.volumes.grid.hu import HuDeclaration, choose_scaling
from medassets.volumes.grid.preprocessing import preprocess_volume
from medassets.volumes.grid.resampling import resample_stream
from medassets.volumes.samples import encode_volume_sample

NUM_FILES = 2
NUM_RAW_BYTES = 352 + 2 * 512 * 512 * 336
SPEC = VolumeDatasetSpec(name="bench", source="folder", folder="/unused")
KINDS = ("floor", "stream", "staged", "folder")
HEADER = (
    "| workers | what | wall s per sample | CPU s per sample | speed / floor | speed / stream "
    "| peak MB | stages (wall s, summed over threads) |"
)


def compare(folder: Path, *, num_rounds: int, num_samples: int = 24) -> list[str]:
    """Build shards and run their floors in turn; return the lines of a table.

    Every run is a process of its own that preprocesses one volume first, so that loading compiled
    code is not counted. `floor` inflates each file in one call of isal, then resamples the voxels
    from memory; `stream` is our own preprocessing, which does both piece by piece; neither hashes
    or writes anything. `staged` builds a shard from checked local files, as `raw_volumes` leaves
    them; `folder` also has to hash its source files.

    Args:
        folder: Where volumes and shards are made; needs 110 MB per sample.
        num_rounds: Runs of each kind.
        num_samples: Samples of the shard.
    """
    for index in range(NUM_FILES):
        make_chest(folder / f"chest_{index}.nii.gz", seed=index)
    lines = [HEADER, "|" + "---|" * 8]
    for num_workers in (1, 2):
        runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
        for _ in range(num_rounds):
            for kind, done in runs.items():
                done.append(_run_apart(kind, folder, num_workers, num_samples))
        lines += [_line(num_workers, num_samples, kind, runs) for kind in KINDS]
    return lines


def _line(
    num_workers: int, num_samples: int, kind: str, runs: dict[str, list[dict[str, Any]]]
) -> str:
    done = runs[kind]
    wall = median(run["wall_s"] for run in done) / num_samples
    cpu = median(run["cpu_s"] for run in done) / num_samples
    shares = [
        median(a["wall_s"] / b["wall_s"] for a, b in zip(runs[other], done, strict=True))
        for other in ("floor", "stream")
    ]
    peak = max(run["peak_bytes"] for run in done) / 1e6
    stages = sorted(done[-1]["seconds"].items(), key=lambda item: -item[1])
    named = ", ".join(f"{stage} {seconds:.2f}" for stage, seconds in stages if seconds >= 0.01)
    return (
        f"| {num_workers} | {kind} | {wall:.3f} | {cpu:.3f} | {shares[0]:.2f} | {shares[1]:.2f} "
        f"| {peak:.0f} | {named or '-'} |"
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


class _Memory:
    """Inflated bytes, read as a stream without another copy of the whole."""

    def __init__(self, content: bytes) -> None:
        self._rest = memoryview(content)

    def read_into(self, target: memoryview) -> int:
        count = min(len(target), len(self._rest))
        target[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def _inflate_then_resample(path: Path, buffers: BufferPool) -> Any:
    raw = isal_zlib.decompress(path.read_bytes(), 31, NUM_RAW_BYTES)
    reader = NiftiReader(_Memory(raw), len(raw))
    preset = PRESETS["ct_clip"]
    plan = plan_resampling(reader.header, preset, spacing_mm=SPACING_MM)
    scaling = choose_scaling(HuDeclaration(), reader.header)
    out = buffers.lend(preset.shape, np.float16)
    resample_stream(reader, plan, scaling=scaling, preset=preset, out=out, buffers=buffers)
    return out


def _stream(path: Path, buffers: BufferPool) -> Any:
    preset = PRESETS["ct_clip"]
    return preprocess_volume(path, preset=preset, spacing_mm=SPACING_MM, buffers=buffers).array


def _run_floor(
    preprocess: Callable[[Path, BufferPool], Any],
    folder: Path,
    num_workers: int,
    num_samples: int,
    buffers: BufferPool,
) -> None:
    def run(index: int) -> None:
        preprocess(folder / f"chest_{index % NUM_FILES}.nii.gz", buffers)

    with ThreadPoolExecutor(num_workers) as executor:
        for _ in executor.map(run, range(num_samples)):
            pass


def _run_shard(
    kind: str, folder: Path, num_workers: int, num_samples: int, buffers: BufferPool
) -> Any:
    source = FolderSource(folder)
    files = source.describe([f"chest_{index}.nii.gz" for index in range(NUM_FILES)])
    known = {path: source.fetch(file) for path, file in files.items()} if kind == "staged" else {}

    def stage(items: Sequence[SourceItem]) -> Mapping[str, StagedFile]:
        return {item.key: known.get(item.path) or source.fetch(files[item.path]) for item in items}

    work = ShardWork(
        dataset="bench",
        partition_key="valid-000000",
        items=tuple(_make_item(index) for index in range(num_samples)),
        plan_fingerprint="0" * 64,
        stage=stage,
        stage_each=True,
        encode=each_item(
            partial(
                encode_volume_sample,
                spec=SPEC,
                source=open_volume_source(SPEC),
                fingerprint="0" * 64,
                buffers=buffers,
            )
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
    _run_floor(_stream, folder, 1, 1, buffers)
    ways = {
        "floor": partial(_run_floor, _inflate_then_resample),
        "stream": partial(_run_floor, _stream),
        "staged": partial(_run_shard, "staged"),
        "folder": partial(_run_shard, "folder"),
    }
    result, cost = measure(ways[kind], folder, num_workers, num_samples, buffers)
    shutil.rmtree(folder / "out", ignore_errors=True)
    seconds = dict(result.seconds) if result is not None else {}
    facts = {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_bytes": read_peak_bytes()}
    print(json.dumps({**facts, "seconds": seconds}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

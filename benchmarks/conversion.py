"""NPZ volumes to float16 shards, beside the plain loop that people run today."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import nibabel as nib
import numpy as np

from benchmarks.phantom import SPACING_MM, make_chest
from benchmarks.worker import measure, read_peak_bytes
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.samples import SourceItem, StagedFile, each_item
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.sources.folder import FolderSource
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.storage.paths import DatasetPaths
from medassets.volumes.raw_samples import encode_raw_sample

NUM_FILES = 2
# dtype, order and whether the file is deflated.
FORMS: dict[str, tuple[str, Literal["C", "F"], bool]] = {
    "int16, deflated": ("int16", "C", True),
    "float32, deflated": ("float32", "C", True),
    "int16, deflated, Fortran": ("int16", "F", True),
    "float32, stored": ("float32", "C", False),
}
KINDS: dict[str, int] = {"plain loop": 1, "medassets, 1 worker": 1, "medassets, 2 workers": 2}
SPEC = VolumeDatasetSpec(
    name="bench",
    source="npz",
    folder="/unused",
    splits=("train",),
    reports_file="reports.csv",
    meta_file="meta.csv",
    labels_file="labels.csv",
    preprocessing="none",
)
HEADER = "| stored as | MB | what | wall s per volume | CPU s per volume | speed / plain loop | peak MB |"


def compare(folder: Path, *, num_rounds: int, num_samples: int = 12) -> list[str]:
    """Convert the same volumes in turn; return the lines of a table.

    The plain loop is `np.load`, `astype(np.float16)` and `tarfile`, one volume after the other, as
    scripts do it: it neither hashes, checks, syncs nor reads back. Ours does all of that.

    Args:
        folder: Where volumes and shards are made; needs 180 MB per sample.
        num_rounds: Runs of each kind.
        num_samples: Volumes of the shard.
    """
    lines = [HEADER, "|" + "---|" * 7]
    for form in FORMS:
        size = _make_files(folder, form)
        runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
        for _ in range(num_rounds):
            for kind, done in runs.items():
                done.append(_run_apart(kind, form, folder, num_samples))
        lines += [_line(form, size, kind, runs, num_samples) for kind in KINDS]
        for index in range(NUM_FILES):
            _file(folder, form, index).unlink()
    return lines


def _line(
    form: str, size: int, kind: str, runs: Mapping[str, list[dict[str, float]]], num_samples: int
) -> str:
    done = runs[kind]
    pairs = zip(runs["plain loop"], done, strict=True)
    speed = median(loop["wall_s"] / one["wall_s"] for loop, one in pairs)
    wall = median(run["wall_s"] for run in done) / num_samples
    cpu = median(run["cpu_s"] for run in done) / num_samples
    peak = max(run["peak_bytes"] for run in done) / 1e6
    return f"| {form} | {size / 1e6:.0f} | {kind} | {wall:.3f} | {cpu:.3f} | {speed:.2f} | {peak:.0f} |"


def _file(folder: Path, form: str, index: int) -> Path:
    return folder / f"{form.replace(', ', '_')}_{index}.npz"


def _make_files(folder: Path, form: str) -> int:
    dtype, order, deflated = FORMS[form]
    save: Any = np.savez_compressed if deflated else np.savez
    for index in range(NUM_FILES):
        image: Any = nib.load(make_chest(folder / f"chest_{index}.nii.gz", seed=index))
        save(_file(folder, form, index), data=np.asarray(image.dataobj, dtype=dtype, order=order))
    return _file(folder, form, 0).stat().st_size


def _run_apart(kind: str, form: str, folder: Path, num_samples: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.conversion", kind, form, str(folder)]
    done = subprocess.run(
        [*command, str(num_samples)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    return json.loads(done.stdout)


def _run_plain_loop(files: Sequence[Path], out: Path) -> None:
    with tarfile.open(out / "shard-000000.tar", "w") as tar:
        for number, file in enumerate(files):
            volume = np.load(file)["data"]
            half = np.ascontiguousarray(volume.astype(np.float16))
            facts = {"study_id": file.stem, "volume_shape": list(half.shape)}
            members = {
                "bin": half.tobytes(),
                "json": json.dumps(facts).encode(),
                "txt": b"No finding.",
                "labels": np.zeros(18, np.float32).tobytes(),
            }
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{number:06d}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))


def _run_ours(files: Sequence[Path], out: Path, *, num_workers: int, buffers: BufferPool) -> None:
    source = FolderSource(files[0].parent)
    described = source.describe(list({file.name for file in files}))

    def stage(items: Sequence[SourceItem]) -> dict[str, StagedFile]:
        return {item.key: source.fetch(described[item.path]) for item in items}

    encode = partial(
        encode_raw_sample,
        spec=SPEC,
        source=open_volume_source(SPEC),
        fingerprint="0" * 64,
        buffers=buffers,
    )
    work = ShardWork(
        dataset="bench",
        partition_key="train-000000",
        items=tuple(_make_item(number, file.name) for number, file in enumerate(files)),
        plan_fingerprint="0" * 64,
        stage=stage,
        stage_each=True,
        encode=each_item(encode),
        source={"uri": source.uri, "revision": None},
        num_workers=num_workers,
    )
    ensure_shard(DatasetPaths(out, "bench"), work)


def _make_item(number: int, path: str) -> SourceItem:
    names = ("clinical_information", "technique", "findings", "impressions")
    row: dict[str, Any] = {
        "study_id": f"train_{number}_a_1",
        "patient": f"train_{number}",
        "scan": f"train_{number}_a",
        "reconstruction": 1,
        "metadata": "{}",
        "report": "No finding.",
        **{f"report_{name}": None for name in names},
        "labels": [0.0] * 18,
        "label_names": [f"label_{label}" for label in range(18)],
        "rescale_slope": 1.0,
        "rescale_intercept": 0.0,
        **dict(zip(("spacing_i", "spacing_j", "spacing_k"), SPACING_MM, strict=True)),
    }
    return SourceItem(f"train_{number}_a_1", "train", path, None, row)


def main(kind: str, form: str, folder: Path, num_samples: int) -> None:
    """Run once and print the cost as JSON."""
    buffers = BufferPool()
    files = [_file(folder, form, index % NUM_FILES) for index in range(num_samples)]
    run: Callable[[Sequence[Path], Path], None] = _run_plain_loop
    if kind != "plain loop":
        run = partial(_run_ours, num_workers=KINDS[kind], buffers=buffers)
    # Once before: compiled code is loaded, and the files lie in memory for everybody.
    for name in ("warm", "out"):
        (folder / name).mkdir(exist_ok=True)
    run(files[:NUM_FILES], folder / "warm")
    _, cost = measure(run, files, folder / "out")
    for name in ("warm", "out"):
        shutil.rmtree(folder / name)
    os.sync()
    time.sleep(1)
    print(json.dumps({"wall_s": cost.wall_s, "cpu_s": cost.cpu_s, "peak_bytes": read_peak_bytes()}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))

"""Reading preprocessed volumes for training: ours, peers, and the page cache under all of them.

Every way is a process of its own that reads all samples once per turn; ways take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.methods import load
from benchmarks.worker import Process
from medassets.loaders import Loader, VolumeDataset
from medassets.loaders.batch_memory import empty_tensor
from medassets.loaders.index import ShardIndex
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.account import Account
from medassets.shards.manifest import build_manifest, write_manifest
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.checksums import byte_view
from medassets.storage.paths import DatasetPaths

SHAPE = (480, 480, 240)
NUM_SHARDS, SAMPLES_PER_SHARD = 2, 8
NUM_SAMPLES = NUM_SHARDS * SAMPLES_PER_SHARD
STEP_S = 0.379
STREAMING_PYTHON = "MEDASSETS_BENCH_STREAMING_PYTHON"

Epoch = Callable[[], Any]


# What is read -----------------------------------------------------------------------------------


def make_shards(folder: Path) -> Path:
    """Make shards of our format once, with noise as voxels; return the manifest."""
    paths = DatasetPaths(folder, "loaders")
    if not paths.manifest("train").exists():
        staged = StagedFile(folder / "unused", "file:unused", None, 0, "0" * 64)
        records = []
        for shard in range(NUM_SHARDS):
            first = shard * SAMPLES_PER_SHARD
            numbers = range(first, first + SAMPLES_PER_SHARD)
            items = tuple(
                SourceItem(f"train_{n}_a_1", "train", f"{n}", None, {"number": n}) for n in numbers
            )
            work = ShardWork(
                dataset="loaders", partition_key=f"train-{shard:06d}", items=items,
                source={"uri": "file:", "revision": None}, plan_fingerprint="f" * 64,
                encode=each_item(_encode), stage=lambda items: {i.key: staged for i in items},
            )  # fmt: skip
            records.append(ensure_shard(paths, work).record)
        fields = {
            "preprocessed": True, "sample_shape": list(SHAPE), "sample_dtype": "float16",
            "num_classes": 18,
        }  # fmt: skip
        manifest = build_manifest(
            "train", records, dataset="loaders", sample_fields=fields, source={},
            kind="ct_volume", account=Account(),
            planned=[record.partition for record in records], num_held=0,
            samples_per_shard=records[0].num_samples,
            describe_shard=lambda _: {},
        )  # fmt: skip
        write_manifest(paths, "train", manifest)
    return paths.manifest("train")


def _encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
    del staged
    rng = np.random.default_rng(int(item.row["number"]))
    volume = rng.random(SHAPE, np.float32).astype(np.float16)
    facts = {"study_id": item.key, "shape": list(SHAPE), "dtype": "float16"}
    members = (
        ("bin", volume.tobytes()), ("txt", b"a report"), ("cls", bytes(72)),
        ("json", json.dumps(facts).encode()),
    )  # fmt: skip
    return EncodedSample(item.key, members)


# Ways to read all samples once ------------------------------------------------------------------


def _floor(manifest: Path, *, widen: bool) -> Epoch:
    """`preadv` of the voxels into one buffer, and one widening copy into another."""
    import torch

    index = ShardIndex(manifest)
    files = [os.open(path, os.O_RDONLY) for path in index.paths]
    # Aligned and in huge pages, which makes the floor lower than a plain allocation does.
    stored = empty_tensor(SHAPE, torch.float16)
    wide = empty_tensor(SHAPE, torch.float32)
    target = byte_view(stored.numpy())

    def read() -> None:
        for number in range(len(index)):
            sample = index.locate(number)
            member = sample.members["bin"]
            assert os.preadv(files[sample.shard], [target], member.offset) == member.size_bytes
            if widen:
                wide.copy_(stored)

    return read


def _ours(manifest: Path, dtype: Any, order: str = "in order", *, fresh: bool = False) -> Epoch:
    dataset = VolumeDataset(manifest, dtype=dtype)
    numbers = list(range(len(dataset)))
    if order == "shuffled":
        np.random.default_rng(1).shuffle(numbers)

    def read() -> None:
        # A dataset that was never read before checks every sample against its record.
        source = VolumeDataset(manifest, dtype=dtype) if fresh else dataset
        for number in numbers:
            source[number]

    return read


def _patterns(manifest: Path) -> str:
    return str(manifest.parent / f"shard-{{000000..{NUM_SHARDS - 1:06d}}}.tar")


def _webdataset(manifest: Path, *, widen: bool) -> Epoch:
    import torch

    wds = load("webdataset")
    dataset = wds.WebDataset(_patterns(manifest), shardshuffle=False)

    def read() -> None:
        for sample in dataset:
            volume = np.frombuffer(sample["bin"], np.float16).reshape(SHAPE)
            if widen:
                torch.from_numpy(volume.copy()).float()

    return read


def _decode_in_users_hands(sample: dict[str, Any]) -> Any:
    """Copy, widen, permute, as the public trainer's loader of preprocessed shards does."""
    import torch

    metadata = json.loads(sample["json"])
    volume = np.frombuffer(sample["bin"], np.float16).reshape(SHAPE).copy()
    tensor = torch.from_numpy(volume).float().permute(2, 0, 1).unsqueeze(0)
    labels = np.frombuffer(sample["cls"], np.float32).copy()
    return tensor, sample["txt"].decode(), labels, metadata["study_id"]


def _in_users_hands(manifest: Path) -> Epoch:
    wds = load("webdataset")
    dataset = wds.WebDataset(_patterns(manifest), shardshuffle=False).map(_decode_in_users_hands)

    def read() -> None:
        for _ in dataset:
            pass

    return read


def _stack(samples: Sequence[Any]) -> Any:
    import torch

    volumes, reports, labels, studies = zip(*samples, strict=True)
    return torch.stack(volumes), list(reports), np.stack(labels), list(studies)


def _batches_in_users_hands(manifest: Path, num_workers: int) -> Epoch:
    from torch.utils.data import DataLoader

    wds = load("webdataset")
    dataset: Any = wds.WebDataset(
        _patterns(manifest), shardshuffle=False, workersplitter=wds.split_by_worker
    ).map(_decode_in_users_hands)
    loader: Any = DataLoader(
        dataset, batch_size=2, num_workers=num_workers, collate_fn=_stack,
        persistent_workers=True, prefetch_factor=2,
    )  # fmt: skip
    return lambda: [None for _ in loader]


def _our_batches(manifest: Path, workers: Any, num_workers: int) -> Epoch:
    dataset = VolumeDataset(manifest, dtype="float32")
    # What is fetched for the next turn while others have theirs would not be counted.
    loader = Loader(
        dataset, batch_size=2, num_workers=num_workers, workers=workers, shuffle=True,
        next_epoch_ahead=False,
    )  # fmt: skip
    return lambda: [None for _ in loader]


WAYS: dict[str, Callable[[Path], Epoch]] = {
    "floor, float16": partial(_floor, widen=False),
    "medassets, float16": partial(_ours, dtype="float16"),
    "medassets, float16, shuffled": partial(_ours, dtype="float16", order="shuffled"),
    "medassets, float16, first epoch": partial(_ours, dtype="float16", fresh=True),
    "webdataset, float16": partial(_webdataset, widen=False),
    "floor, float32": partial(_floor, widen=True),
    "medassets, float32": partial(_ours, dtype="float32"),
    "medassets, float32, shuffled": partial(_ours, dtype="float32", order="shuffled"),
    "webdataset, float32": partial(_webdataset, widen=True),
    "loader in users' hands, float32": _in_users_hands,
    "batches: medassets, threads": partial(_our_batches, workers="thread", num_workers=2),
    "batches: medassets, processes": partial(_our_batches, workers="process", num_workers=2),
    "batches: loader in users' hands": partial(_batches_in_users_hands, num_workers=2),
}
COLD = ("floor, float16", "medassets, float16", "medassets, float16, shuffled",
        "webdataset, float16", "mosaicml-streaming, float16")  # fmt: skip


# Turns ------------------------------------------------------------------------------------------


def _commands(manifest: Path, folder: Path) -> dict[str, list[str]]:
    own = [sys.executable, "-m", "benchmarks.loaders"]
    commands = {name: [*own, name, str(manifest)] for name in WAYS}
    if python := os.environ.get(STREAMING_PYTHON):
        target = folder / "mds"
        peer = [python, str(Path(__file__).with_name("streaming_peer.py"))]
        if not target.exists():
            _write_streaming(peer, manifest, target)
        commands["mosaicml-streaming, float16"] = [*peer, "serve", str(target)]
    return commands


def _write_streaming(peer: list[str], manifest: Path, target: Path) -> None:
    loose = target.with_name("loose")
    loose.mkdir()
    dataset = VolumeDataset(manifest, dtype="float16")
    for number in range(len(dataset)):
        volume = dataset[number]["volume"].permute(0, 2, 3, 1).numpy()
        (loose / f"{number:03d}.bin").write_bytes(volume.tobytes())
    subprocess.run([*peer, "write", str(loose), str(target)], check=True)
    for path in loose.iterdir():
        path.unlink()


def _forget(folder: Path) -> None:
    """Drop all files of a folder from the page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            file = os.open(path, os.O_RDONLY)
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(file)


def _take_turns(
    commands: dict[str, list[str]], num_rounds: int, before: Callable[[], None] | None = None
) -> dict[str, list[float]]:
    """Return wall seconds per sample; the first round of each is not counted."""
    with ExitStack() as stack:
        started = {name: stack.enter_context(Process(c)) for name, c in commands.items()}
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for number in range(num_rounds + 1):
            for name, process in started.items():
                if before is not None:
                    before()
                seconds = process.ask("run")["wall_s"] / NUM_SAMPLES
                if number:
                    taken[name].append(seconds)
    return taken


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Take all ways in turn, warm and cold, then simulate training; return lines of tables.

    Args:
        folder: Where shards are made and kept; needs 3.6 GB, and as much page cache.
        num_rounds: Measured rounds.
    """
    manifest = make_shards(folder)
    commands = _commands(manifest, folder)
    warm = _take_turns(commands, num_rounds)
    lines = [*_table("page cache", warm), "", *_train(_repeat_shards(manifest))]
    cold = {name: command for name, command in commands.items() if name in COLD}
    return [*lines, "", *_table("cold", _take_turns(cold, num_rounds, partial(_forget, folder)))]


def _table(title: str, taken: dict[str, list[float]]) -> Iterator[str]:
    yield f"| {title} | ms per sample | / floor | way / medassets |"
    yield "|---|---|---|---|"
    for name, seconds in taken.items():
        dtype = "float16" if "float16" in name else "float32"
        shares = [
            median(a / b for a, b in zip(seconds, taken[other], strict=True))
            if (other := f"{way}, {dtype}") in taken
            else float("nan")
            for way in ("floor", "medassets")
        ]
        yield f"| {name} | {1e3 * median(seconds):.1f} | {shares[0]:.2f} | {shares[1]:.2f} |"


def _repeat_shards(manifest: Path, times: int = 6) -> Path:
    """Return a folder that holds the shards several times, so that an epoch is no eye-blink."""
    folder = manifest.parents[2] / "repeated"
    folder.mkdir(exist_ok=True)
    for number in range(times * NUM_SHARDS):
        for suffix in (".tar", ".json"):
            link = folder / f"shard-{number:06d}{suffix}"
            if not link.exists():
                link.symlink_to(manifest.parent / f"shard-{number % NUM_SHARDS:06d}{suffix}")
    return folder


def _train(source: Path, num_epochs: int = 2) -> Iterator[str]:
    """Yield how long a loop of 379 ms steps waits for batches of 4 with 2 workers."""
    yield "| simulated training | batches | waited s | share of the time |"
    yield "|---|---|---|---|"
    for dtype in ("float16", "float32"):
        loader = Loader(
            VolumeDataset(source, dtype=dtype), batch_size=4, num_workers=2, shuffle=True
        )
        waited, batches, started = 0.0, 0, time.perf_counter()
        for _ in range(num_epochs):
            asked = time.perf_counter()
            for _ in loader:
                waited += time.perf_counter() - asked
                batches += 1
                time.sleep(STEP_S)
                asked = time.perf_counter()
            waited += time.perf_counter() - asked
        share = waited / (time.perf_counter() - started)
        yield f"| {dtype}, batch 4, 2 workers | {batches} | {waited:.2f} | {100 * share:.1f} % |"


def _serve(name: str, manifest: Path) -> None:
    read = WAYS[name](manifest)
    for _ in sys.stdin:
        started = time.perf_counter()
        read()
        print(json.dumps({"wall_s": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("manifest", type=Path)
    arguments = parser.parse_args()
    _serve(arguments.way, arguments.manifest)

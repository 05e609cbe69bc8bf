"""100,000 random points of one lung window: ours, the usual ways, and the floor under all of them.

`python -m benchmarks.sparse_points WAY FOLDER` serves one way: a line on its input, a sample and its
cost on its output. Every way has a process of its own with one thread; the ways take turns.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

import nibabel as nib
import numpy as np
import zstandard

from benchmarks.phantom import make_chest
from benchmarks.worker import measure, read_peak_bytes
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets.volumes.windows.occupancy import pack_mask
from medassets.volumes.windows.occupancy_codec import encode_bits

NUM_POINTS = 100_000
SIDE = 512
SHAPE = (SIDE, SIDE, SIDE)
FAST_S, NUM_REPEATS = 0.5, 7
LOW_HU, HIGH_HU = -1350, 150
CASE = Path("case", "windows", "lung_w1500_l-600.npy")
HEADER = "| way | wall ms | CPU ms | wall / floor | first sample ms | peak MB | MB on disk |"


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Draw samples in every way in turn and return the lines of a table.

    Files lie in the page cache. The first sample of each way is shown apart; peak memory is what a
    process takes beyond its imports.

    Args:
        folder: Where volume, masks and shards are made; needs 800 MB, and 2 GB of memory.
        num_rounds: Measured rounds.
    """
    _make_files(folder)
    costs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    with ExitStack() as stack:
        asks = {name: stack.enter_context(_serve_apart(name, folder)) for name in WAYS}
        for _ in range(num_rounds + 1):
            for name, ask in asks.items():
                costs[name].append(ask())
    floor = median(cost["wall_s"] for cost in costs["floor"][1:])
    lines = [HEADER, "|" + "---|" * 7]
    for name, (first, *others) in costs.items():
        wall = median(cost["wall_s"] for cost in others)
        cpu = median(cost["cpu_s"] for cost in others)
        size = sum(path.stat().st_size for path in FILES[name](folder))
        lines.append(
            f"| {name} | {wall * 1e3:.1f} | {cpu * 1e3:.1f} | {wall / floor:.1f} | "
            f"{first['wall_s'] * 1e3:.0f} | {others[-1]['peak_mb']:.0f} | {size / 1e6:.1f} |"
        )
    return lines


@contextmanager
def _serve_apart(name: str, folder: Path) -> Iterator[Callable[[], dict[str, float]]]:
    command = [sys.executable, "-m", "benchmarks.sparse_points", name, str(folder)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        output = process.stdout

        def ask() -> dict[str, float]:
            print(file=process.stdin, flush=True)
            return json.loads(output.readline())

        yield ask
        process.stdin.close()


# The files.


def _make_files(folder: Path) -> None:
    dense = folder / "dense" / CASE
    if dense.exists():
        return
    image: Any = nib.load(make_chest(folder / "chest_512.nii.gz", shape=SHAPE))
    hu = np.asanyarray(image.dataobj)
    mask = (hu >= LOW_HU) & (hu <= HIGH_HU)
    for stored in ("raw", "zstd"):
        _write_shard(folder / stored, mask, stored)
    smooth = _smooth(hu)
    _write_shard(folder / "smooth", (smooth >= LOW_HU) & (smooth <= HIGH_HU), "auto")
    voxels = mask.astype(np.uint8, order="C")
    points = np.argwhere(voxels)[:: int(mask.sum()) // NUM_POINTS][:NUM_POINTS]
    np.save(folder / "ready.npy", points)
    dense.parent.mkdir(parents=True)
    np.save(dense, voxels)


def _smooth(hu: np.ndarray) -> np.ndarray:
    """Return the mean of three voxels along an axis: a chest as a smooth kernel shows it."""
    smooth = hu.copy()
    smooth[1:-1] = (hu[:-2] + hu[1:-1] + hu[2:]) // 3
    return smooth


def _write_shard(folder: Path, mask: np.ndarray, stored: str) -> None:
    def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
        occupancy = pack_mask(mask)
        encoding, content = _encode(occupancy.bits, stored)
        window = {"num_points": occupancy.num_points, "encoding": encoding}
        facts = {"shape": list(mask.shape), "windows": {"lung": window}}
        members = {
            "lung.bits": content,
            "lung.rank": occupancy.rank,
            "json": json.dumps(facts).encode(),
        }
        return EncodedSample(item.key, tuple(members.items()), facts)

    staged = StagedFile(Path(os.devnull), "memory:", None, 0, "0" * 64)
    work = ShardWork(
        dataset="bench",
        partition_key="train-000000",
        items=(SourceItem("case", "train", "case", None, {}),),
        plan_fingerprint="0" * 64,
        stage=lambda items: {item.key: staged for item in items},
        stage_each=True,
        encode=each_item(encode),
        source={"uri": "memory:", "revision": None},
        num_workers=1,
    )
    ensure_shard(DatasetPaths(folder, "bench"), work)


def _encode(bits: np.ndarray, stored: str) -> tuple[str, Any]:
    """Encode bits as `auto` does, or as it does not where they take long to inflate."""
    if stored == "zstd":
        return "zstd", zstandard.ZstdCompressor(level=1).compress(bits)  # pyright: ignore[reportArgumentType]
    return encode_bits(bits, compression="auto" if stored == "auto" else "none")


def _find_shard(folder: Path) -> Path:
    return next(folder.rglob("*.tar"))


# The ways.


def _draw_ours(root: Path, **options: bool) -> Callable[[], Any]:
    from medassets.loaders.windows.dataset import CTWindowSparseSDF

    caches: dict[str, Any] = {"cache_data": False, "precompute_sparse": False, **options}
    dataset = CTWindowSparseSDF(str(root), max_points=NUM_POINTS, **caches)
    dataset.set_epoch(0)
    return lambda: dataset[0]


@cache
def _load_dense(path: Path) -> np.ndarray:
    return np.load(path)


@cache
def _list_dense(path: Path) -> tuple[np.ndarray, np.ndarray]:
    return _list_points(_load_dense(path))


def _list_points(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    index = np.stack(np.nonzero(volume), axis=1)
    return index, volume[index[:, 0], index[:, 1], index[:, 2]]


def _choose(index: np.ndarray, values: np.ndarray) -> Any:
    import torch

    chosen = np.random.choice(len(index), NUM_POINTS, replace=False)
    return (
        torch.from_numpy(values[chosen]).float().unsqueeze(-1),
        torch.from_numpy(index[chosen]).long(),
    )


def _read_ready(path: Path) -> Any:
    import torch

    points = torch.from_numpy(np.load(path))
    return torch.from_numpy(np.ones((len(points), 1), np.float32)), points


WAYS: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "floor": lambda folder: lambda: _read_ready(folder / "ready.npy"),
    "medassets, raw": lambda folder: _draw_ours(_find_shard(folder / "raw")),
    "medassets, compressed all the same": lambda folder: _draw_ours(_find_shard(folder / "zstd")),
    "medassets, smooth chest, compressed": lambda folder: _draw_ours(
        _find_shard(folder / "smooth")
    ),
    "medassets, kept in memory": lambda folder: _draw_ours(
        _find_shard(folder / "raw"), cache_data=True
    ),
    "medassets, old .npy": lambda folder: _draw_ours(folder / "dense"),
    "nonzero + choice": lambda folder: lambda: _choose(*_list_points(np.load(_dense(folder)))),
    "voxels kept, nonzero + choice": lambda folder: (
        lambda: _choose(*_list_points(_load_dense(_dense(folder))))
    ),
    "points kept, choice": lambda folder: lambda: _choose(*_list_dense(_dense(folder))),
}
"""By the name in the table."""


def _dense(folder: Path) -> Path:
    return folder / "dense" / CASE


FILES: dict[str, Callable[[Path], list[Path]]] = {
    **dict.fromkeys(WAYS, lambda folder: [_dense(folder)]),
    "floor": lambda folder: [folder / "ready.npy"],
    **dict.fromkeys(
        ("medassets, raw", "medassets, kept in memory"),
        lambda folder: [_find_shard(folder / "raw")],
    ),
    "medassets, compressed all the same": lambda folder: [_find_shard(folder / "zstd")],
    "medassets, smooth chest, compressed": lambda folder: [_find_shard(folder / "smooth")],
}


def _serve(name: str, folder: Path) -> None:
    import torch

    # Compiled code is loaded before anything is measured, as imports are.
    pack_mask(np.ones((9, 9, 9))).sample(5, np.random.default_rng(0))
    draw = WAYS[name](folder)
    torch.zeros(1)
    before = read_peak_bytes()
    fast = False
    for _ in sys.stdin:
        if fast:
            # The ways that list all points leave nothing of the others in the processor's caches.
            draw()
        costs = [measure(draw)[1] for _ in range(NUM_REPEATS if fast else 1)]
        fast = costs[0].wall_s < FAST_S
        means = {
            "wall_s": median(cost.wall_s for cost in costs),
            "cpu_s": median(cost.cpu_s for cost in costs),
        }
        peak = (read_peak_bytes() - before) / 1e6
        print(json.dumps({**means, "peak_mb": peak}), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))

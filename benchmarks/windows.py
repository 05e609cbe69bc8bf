"""Four windows of one volume: inflate alone, ours, and numpy on the whole volume.

`python -m benchmarks --tables windows` prints this table alone.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from benchmarks.phantom import make_chest
from benchmarks.worker import Cost, measure
from medassets.specs import STANDARD_WINDOWS
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.windows.masks import WindowedVolume, make_windows
from medassets.volumes.windows.occupancy import count_blocks
from medassets.volumes.windows.occupancy_codec import encode_bits

WINDOWS = tuple(STANDARD_WINDOWS.values())
BUDGET = 1.5
HEADER = "| way | wall s | CPU s | CPU / inflate | budget | MB of masks |"

_SLICE = 512 * 512
_buffers = BufferPool()
_memory: dict[int, np.ndarray] = {}


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Run every way in turn and return the lines of a table; the first round warms up.

    Args:
        folder: Where the volume is made.
        num_rounds: Measured rounds.
    """
    path = make_chest(folder / "chest_0.nii.gz")
    ways: dict[str, tuple[Callable[[Path], float], str]] = {
        "inflate (isal, in pieces)": (_inflate, ""),
        "inflate + four windows": (_make, f"{BUDGET}"),
        "inflate + four windows + index": (_index, f"{BUDGET}"),
        "the same + zstd, as they are stored": (_encode, f"{BUDGET}"),
        "nibabel + numpy, one uint8 mask each": (_numpy, ""),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    sizes: dict[str, float] = {}
    for round_ in range(num_rounds + 1):
        for name, (work, _) in ways.items():
            sizes[name], cost = measure(work, path)
            if round_:
                costs[name].append(cost)
    floor = _median([cost.cpu_s for cost in next(iter(costs.values()))])
    lines = []
    for name, (_, budget) in ways.items():
        wall, cpu = (_median([getattr(c, f) for c in costs[name]]) for f in ("wall_s", "cpu_s"))
        size = f"{sizes[name]:.1f}" if sizes[name] else ""
        lines.append(f"| {name} | {wall:.3f} | {cpu:.3f} | {cpu / floor:.2f} | {budget} | {size} |")
    return [HEADER, "|" + "---|" * 6, *lines]


def _median(values: list[float]) -> float:
    return statistics.median(values)


def _inflate(path: Path) -> float:
    with open_nifti(path) as reader:
        voxels = np.empty(_SLICE, reader.header.dtype)
        for _ in range(reader.header.shape[2]):
            reader.read_into(voxels)
        reader.finish()
    return 0.0


def _lend(num_bytes: int) -> np.ndarray:
    """Return the same memory every time, as a shard's worker does."""
    return _memory.setdefault(num_bytes, np.zeros(num_bytes, np.uint8))


def _volume(path: Path) -> WindowedVolume:
    return make_windows(path, WINDOWS, lend=_lend, buffers=_buffers)


def _make(path: Path) -> float:
    return _volume(path).bits.nbytes / 1e6


def _index(path: Path) -> float:
    bits = _volume(path).bits
    return (bits.nbytes + sum(count_blocks(mask).nbytes for mask in bits)) / 1e6


def _encode(path: Path) -> float:
    bits = _volume(path).bits
    ranks = sum(count_blocks(mask).nbytes for mask in bits)
    masks: list[Any] = [encode_bits(mask, compression="auto")[1] for mask in bits]
    return (ranks + sum(len(mask) for mask in masks)) / 1e6


def _numpy(path: Path) -> float:
    image: Any = nib.load(path)
    hu = np.asarray(image.dataobj)
    masks = [((hu >= w.low_hu) & (hu <= w.high_hu)).astype(np.uint8) for w in WINDOWS]
    return sum(mask.nbytes for mask in masks) / 1e6

"""One volume, from `.nii.gz` to float16 voxels: wall, CPU and memory of each way, interleaved."""

from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from benchmarks.methods import METHODS, PRESET
from benchmarks.phantom import make_chest
from benchmarks.worker import Cost, Worker

NO_RESULT = ("floor", "stream floor")
HEADER = "| way | wall s | CPU s | CPU / floor | CPU / medassets | peak MB | voxels unlike ours |"


def compare(folder: Path, *, num_rounds: int, names: tuple[str, ...] = ()) -> list[str]:
    """Run every way in turn and return the lines of a table.

    The first round warms up: imports, compiled code, page cache, buffers. Medians of the others.

    Args:
        folder: Where the volume is made and outputs are compared.
        num_rounds: Measured rounds.
        names: Ways of `METHODS`; all if empty.
    """
    path = make_chest(folder / "chest_0.nii.gz")
    names = names or tuple(METHODS)
    costs: dict[str, list[Cost]] = {name: [] for name in names}
    with ExitStack() as stack:
        workers = {name: stack.enter_context(Worker(name, path)) for name in names}
        for round_ in range(num_rounds + 1):
            for name, worker in workers.items():
                cost = worker.run()
                if round_:
                    costs[name].append(cost)
        peaks = {name: worker.peak_bytes() for name, worker in workers.items()}
        unlike = _compare_outputs(workers, folder)
    return [HEADER, "|" + "---|" * 7, *(_line(name, costs, peaks, unlike) for name in names)]


def _compare_outputs(workers: dict[str, Worker], folder: Path) -> dict[str, str]:
    """Return, by way, the share of voxels that differ from ours by more than 0.002."""
    ours = folder / "medassets.npy"
    workers["medassets"].save(ours)
    expected = np.load(ours).astype(np.float32)
    shares: dict[str, str] = {}
    for name, worker in workers.items():
        if name in NO_RESULT:
            continue
        other = folder / "other.npy"
        worker.save(other)
        made: Any = np.load(other)
        assert made.shape == PRESET.shape
        shares[name] = f"{(np.abs(made.astype(np.float32) - expected) > 0.002).mean():.4f}"
        other.unlink()
    ours.unlink()
    return shares


def _line(
    name: str, costs: dict[str, list[Cost]], peaks: dict[str, int], unlike: dict[str, str]
) -> str:
    cpu = {name: median(cost.cpu_s for cost in runs) for name, runs in costs.items()}
    wall = median(cost.wall_s for cost in costs[name])
    return (
        f"| {name} | {wall:.3f} | {cpu[name]:.3f} | {cpu[name] / cpu['floor']:.2f} | "
        f"{cpu[name] / cpu['medassets']:.2f} | {peaks[name] / 1e6:.0f} | {unlike.get(name, '-')} |"
    )

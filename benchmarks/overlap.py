"""Fetching from a throttled Hub and computing: each alone, and both in one build."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from medassets.testing.hub import LocalHub

_PER_SHARD = 4
_REPO_ID = "bench/overlap"

# The grid decides what computing takes; the speed of the Hub, what fetching takes.
_DECLARATION = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: bench_overlap
  repo_id: {repo_id}
  endpoint: {endpoint}
  use_token: false
  splits: [train]
  hu_rule: none
  target_spacing_mm: [{spacing}, {spacing}, {spacing}]
  target_shape: [{side}, {side}, {side}]
  samples_per_shard: {per_shard}
  max_rejected_share: 1.0
  max_excluded_share: 1.0
"""

_FETCH = """
from medassets.cli.session import Session
from medassets.datasets.build import stage_partition
workspace = Session().workspace("bench_overlap")
for key in workspace.read_plan().partitions:
    assert not stage_partition(workspace, key).rejected
"""


@dataclass(frozen=True)
class _Case:
    """One balance of fetching and computing.

    Attributes:
        name: What is slowest.
        side: Voxels of an axis of a sample.
        file_s: Seconds that one file takes from the Hub.
    """

    name: str
    side: int
    file_s: float


_CASES = (_Case("fetching", 32, 4.0), _Case("computing", 256, 0.8))


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Fetch, compute and build ten shards, with each the slowest in turn; return the lines of a table.

    Args:
        folder: Where repository, shards and the Dagster instance are made.
        num_rounds: Rounds of each; one more, not counted, compiles the kernels.
    """
    repository = folder / "overlap" / "repository"
    if not repository.exists():
        _make_repository(repository)
    lines = [
        "| slowest | fetching alone s | computing alone s | sum s | build s | of the slowest |"
    ]
    lines += ["|---|---|---|---|---|---|"]
    for case in _CASES:
        with _serving(folder / "overlap", repository, case) as hub:
            rounds = [_measure(folder / "overlap", hub, case) for _ in range(num_rounds + 1)][1:]
        fetch, compute, build = (median(found) for found in zip(*rounds, strict=True))
        share = build / max(fetch, compute)
        numbers = f"{fetch:.1f} | {compute:.1f} | {fetch + compute:.1f} | {build:.1f}"
        lines.append(f"| {case.name} | {numbers} | {share:.2f} |")
    return lines


def _make_repository(folder: Path) -> None:
    """Make 39 volumes of one size, for ten shards, in the layout of CT-RATE."""
    from medassets.testing.ct_rate import make_ct_rate_repository

    made = folder.with_name("making")
    make_ct_rate_repository(
        made,
        num_patients=17,
        splits=("train",),
        special_rows=False,
        shape_range=((96, 96, 96), (96, 96, 96)),
    )
    made.rename(folder)


@contextmanager
def _serving(folder: Path, repository: Path, case: _Case) -> Iterator[LocalHub]:
    with LocalHub(repository, _REPO_ID) as hub:
        declared = folder / "defs" / "bench_overlap" / "defs.yaml"
        declared.parent.mkdir(parents=True, exist_ok=True)
        text = _DECLARATION.format(
            repo_id=_REPO_ID,
            endpoint=hub.endpoint,
            side=case.side,
            spacing=round(300 / case.side, 3),
            per_shard=_PER_SHARD,
        )
        declared.write_text(text, encoding="utf-8")
        yield hub


def _measure(folder: Path, hub: LocalHub, case: _Case) -> tuple[float, float, float]:
    """Return the seconds of fetching alone, of computing what was fetched, and of a build of both."""
    home = folder / "home"
    environment = {
        **os.environ,
        "MEDASSETS_HOME": str(home),
        "MEDASSETS_DEFS": str(folder / "defs"),
        "DAGSTER_HOME": str(home / "dagster"),
    }
    build = [sys.executable, "-m", "medassets", "build", "bench_overlap"]
    plan = [*build, "--missing", "--partitions", "train-000000"]
    shutil.rmtree(home, ignore_errors=True)
    hub.heal()
    _time(plan, environment)
    shutil.rmtree(home / "data" / "bench_overlap" / "train")
    _throttle(hub, folder / "repository", case)
    fetch = _time([sys.executable, "-c", _FETCH], environment)
    hub.heal()
    compute = _time([*build, "--no-refresh"], environment)
    shutil.rmtree(home / "data" / "bench_overlap" / "train")
    _throttle(hub, folder / "repository", case)
    return fetch, compute, _time([*build, "--no-refresh"], environment)


def _throttle(hub: LocalHub, repository: Path, case: _Case) -> None:
    sizes = [path.stat().st_size for path in repository.rglob("*.nii.gz")]
    speed = int(sum(sizes) / len(sizes) / case.file_s)
    hub.fail("slow", "*.nii.gz", times=None, bytes_per_s=speed)


def _time(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start

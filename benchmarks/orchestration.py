"""What Dagster and the start of Python cost one partition, beyond the work itself."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from medassets.testing.ct_rate import make_ct_rate_repository

_DECLARATION = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: bench_tiny
  source: folder
  folder: {folder}
  hu_rule: none
  target_spacing_mm: [4, 4, 8]
  target_shape: [24, 20, 12]
  samples_per_shard: 3
  max_rejected_share: 1.0
"""

_IN_ONE_PROCESS = """
import sys, time
from medassets.cli.session import Session
session = Session()
for force in (True, True, True, True, True):
    start = time.perf_counter()
    config = {"bench_tiny__shards": {"force": force}}
    assert session.run("bench_tiny_build", partition="valid-000000", config=config).ok
    print(time.perf_counter() - start)
"""

_WORK_ALONE = """
import time
from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
workspace = Session().workspace("bench_tiny")
for _ in range(5):
    start = time.perf_counter()
    work = plan_shard(workspace, "valid-000000", force=True)
    build_shard(workspace, workspace.paths, work)
    print(time.perf_counter() - start)
"""


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Make one tiny shard in each of the ways users do; return the lines of a table.

    Args:
        folder: Where repository, shards and the Dagster instance are made.
        num_rounds: Runs of each way; one more, not counted, goes first.
    """
    environment = _prepare(folder / "orchestration")
    material = ["-m", "dagster", "asset", "materialize", "-m", "medassets.definitions"]
    select = ["--select", "bench_tiny/shards", "--partition", "valid-000000"]
    build = ["-m", "medassets", "build", "bench_tiny", "--no-refresh", "--force"]
    one = ["--partitions", "valid-000000"]
    ways: dict[str, Callable[[], float]] = {
        "the work alone, in a live process": lambda: _median_of(_WORK_ALONE, environment),
        "one Dagster run in a live process": lambda: _median_of(_IN_ONE_PROCESS, environment),
        "`dagster asset materialize --partition`": lambda: _time(
            [sys.executable, *material, *select], environment
        ),
        "`medassets build --partitions`": lambda: _time(
            [sys.executable, *build, *one], environment
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for round_index in range(num_rounds + 1):
        for name, way in ways.items():
            passed = way()
            if round_index:
                seconds[name].append(passed)
    work = median(seconds["the work alone, in a live process"])
    lines = ["| way | wall s | beyond the work s |", "|---|---|---|"]
    return lines + [
        f"| {name} | {median(found):.2f} | {median(found) - work:.2f} |"
        for name, found in seconds.items()
    ]


def _prepare(folder: Path) -> dict[str, str]:
    if not (folder / "repository").exists():
        make_ct_rate_repository(folder / "repository")
    declared = folder / "defs" / "bench_tiny" / "defs.yaml"
    declared.parent.mkdir(parents=True, exist_ok=True)
    declared.write_text(_DECLARATION.format(folder=folder / "repository"), encoding="utf-8")
    home = folder / "home"
    environment = {
        **os.environ,
        "MEDASSETS_HOME": str(home),
        "MEDASSETS_DEFS": str(folder / "defs"),
        "DAGSTER_HOME": str(home / "dagster"),
    }
    _time([sys.executable, "-m", "medassets", "build", "bench_tiny"], environment)
    return environment


def _time(command: list[str], environment: dict[str, str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def _median_of(code: str, environment: dict[str, str]) -> float:
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment
    )
    # The first one loads compiled code; it counts in the ways that start a process.
    return median(float(line) for line in done.stdout.split()[1:])

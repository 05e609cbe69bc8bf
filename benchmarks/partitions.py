"""A dataset of ten thousand shards of one tiny sample: what each shard and each look at all of them cost.

`python -m benchmarks.partitions` prints this table alone; it builds the dataset first, in minutes.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx2
import yaml

from medassets.components.loading import load_datasets
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.testing.npz_tree import make_npz_tree

NUM_SHARDS = 10_000
_NAME = "tiny"
# The cost of a shard when all others exist.
_LAST_SHARDS = 200
_FOOTER_LENGTH = slice(-8, -4)

SHARD_BUDGET_S = 0.2
FOOTER_BUDGET_MB = 2.0
REFRESH_BUDGET_MB = 1000
STATUS_BUDGET_S = 3.0
QUERY_BUDGET_S = 0.5

_UP_WITHIN_S = 120
_NUM_ASKED = 5
_ASSET = f'{{ path: ["{_NAME}", "shards"] }}'
_QUERIES = {
    "state of all partitions": """{ assetNodeOrError(assetKey: %s) { ... on AssetNode {
        partitionKeys partitionStats { numPartitions numMaterialized numFailed numMaterializing }
        assetPartitionStatuses { ... on DefaultPartitionStatuses {
            materializedPartitions failedPartitions materializingPartitions } } } } }""",
    "last events and their metadata": """{ assetOrError(assetKey: %s) { ... on Asset {
        assetMaterializations(limit: 100) { partition timestamp metadataEntries {
            label ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } } }
        } } }""",
    "counts of the group": """{ assetNodes(assetKeys: [%s]) { assetKey { path } staleStatus
        partitionStats { numMaterialized } assetMaterializations(limit: 1) { timestamp } } }""",
}
"""What the UI's pages of an asset ask for; the pages' own queries were measured in a browser."""


def main() -> None:
    """Print the table as Markdown."""
    with tempfile.TemporaryDirectory(prefix="medassets-bench-") as name:
        print("\n".join(compare(Path(name), num_rounds=3)))


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Return the lines of the table.

    Args:
        folder: Folder for sources and shards, which are removed again.
        num_rounds: How often commands are measured.
    """
    with tempfile.TemporaryDirectory(prefix="partitions-", dir=folder) as name:
        place = Path(name)
        environment = _declare(place)
        workspace = _open(place)
        publish_catalog(workspace.paths, draft_catalog(workspace))
        shard_s = _build(workspace)
        status = [_run(environment, "status", _NAME, "--json") for _ in range(num_rounds)]
        plan = [_run(environment, "plan", _NAME, "--json") for _ in range(num_rounds)]
        recorded_s, _ = _run(environment, "reconcile", _NAME)
        with _serve(environment) as address:
            queries = {name: _ask(address, text % _ASSET) for name, text in _QUERIES.items()}
        footer = int.from_bytes(workspace.paths.catalog.read_bytes()[_FOOTER_LENGTH], "little")
    status_s, status_mb = (statistics.median(column) for column in zip(*status, strict=True))
    plan_s, plan_mb = (statistics.median(column) for column in zip(*plan, strict=True))
    return [
        f"| {NUM_SHARDS:,} shards of one tiny sample | measured | budget |",
        "| --- | --- | --- |",
        f"| footer of the catalog | {footer / 1e6:.2f} MB | {FOOTER_BUDGET_MB:g} MB |",
        f"| one of the last shards, CPU | {shard_s:.3f} s | {SHARD_BUDGET_S:g} s |",
        f"| `plan` of a refresh, CPU | {plan_s:.1f} s | |",
        f"| the same, memory | {plan_mb:.0f} MB | {REFRESH_BUDGET_MB} MB |",
        f"| `status`, CPU | {status_s:.1f} s | {STATUS_BUDGET_S:g} s |",
        f"| the same, memory | {status_mb:.0f} MB | |",
        f"| `reconcile` where Dagster knows none, CPU | {recorded_s:.0f} s | |",
        *(
            f"| page query: {name} | {s:.2f} s | {QUERY_BUDGET_S:g} s |"
            for name, s in queries.items()
        ),
    ]


def _declare(folder: Path) -> Mapping[str, str]:
    """Make the sources and their declaration; return the environment of the commands."""
    tree = make_npz_tree(folder / "source", num_volumes=NUM_SHARDS, shape=(5, 6, 7))
    fields = {**tree.fields(), "name": _NAME, "samples_per_shard": 1, "hu_rule": "none"}
    declared = folder / "defs" / _NAME / "defs.yaml"
    declared.parent.mkdir(parents=True)
    document = {"type": "medassets.components.VolumeDatasetComponent", "attributes": fields}
    declared.write_text(yaml.safe_dump(document))
    home, defs = str(folder / "home"), str(folder / "defs")
    return {**os.environ, "MEDASSETS_HOME": home, "MEDASSETS_DEFS": defs}


def _open(folder: Path) -> Workspace:
    with warnings.catch_warnings():
        # Dagster's own, of features in preview; the command silences them as well.
        warnings.simplefilter("ignore")
        declared = load_datasets([folder / "defs"]).datasets[_NAME]
    home = folder / "home"
    return open_workspace(
        open_kind(declared.spec), data_root=str(home / "data"), staging_root=str(home / "staging")
    )


def _build(workspace: Workspace) -> float:
    """Build all shards; return the median CPU time of the last ones."""
    times: list[float] = []
    for key in workspace.read_plan().partitions:
        start = time.process_time()
        build_shard(workspace, workspace.paths, plan_shard(workspace, key, num_workers=1))
        times.append(time.process_time() - start)
    return statistics.median(times[-_LAST_SHARDS:])


def _run(environment: Mapping[str, str], *arguments: str) -> tuple[float, float]:
    """Run the command; return its CPU seconds and its largest memory in MB."""
    command = [sys.executable, "-m", "medassets", *arguments]
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{' '.join(command)}: exit code {process.returncode}"
        raise RuntimeError(msg)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1000


@contextmanager
def _serve(environment: Mapping[str, str]) -> Iterator[str]:
    """Serve the UI; yield its address."""
    command = [sys.executable, "-m", "medassets", "up", "--port", "0", "--no-daemon"]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=dict(environment), stdout=log, stderr=log)
        try:
            yield _wait_for_address(process, log.fileno())
        finally:
            process.terminate()
            process.wait(60)


def _wait_for_address(process: subprocess.Popen[bytes], log: int) -> str:
    deadline, said = time.monotonic() + _UP_WITHIN_S, ""
    while time.monotonic() < deadline and process.poll() is None:
        said = os.pread(log, 1 << 16, 0).decode()
        if found := re.search(r"http://127\.0\.0\.1:\d+", said):
            return found[0]
        time.sleep(0.1)
    msg = f"medassets up is not up: {said}"
    raise RuntimeError(msg)


def _ask(address: str, query: str) -> float:
    """Return how long an answer takes, the median of several."""
    times: list[float] = []
    with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
        for _ in range(_NUM_ASKED):
            start = time.perf_counter()
            answer = client.post("/graphql", json={"query": query}).json()
            times.append(time.perf_counter() - start)
            if "errors" in answer:
                msg = f"{query}: {answer['errors']}"
                raise RuntimeError(msg)
    return statistics.median(times)


if __name__ == "__main__":
    main()

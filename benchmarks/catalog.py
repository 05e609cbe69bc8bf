"""Catalogs at full size: CT-RATE's 50,188 rows, and 1.3 million clips.

`python -m benchmarks.catalog` prints these tables alone.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from benchmarks.clip_catalog import measure_refresh
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.shards.catalog.files import read_partition, read_plan
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate_tables import NUM_CT_RATE_VOLUMES, make_ct_rate_tables
from medassets_tests.clip_metadata import (
    NUM_CLIPS,
    NUM_VIDEOS,
    make_clip_metadata,
    make_empty_videos,
)

Result = TypeVar("Result")

_NEW_ROWS = 1000
_PARTITIONS_READ = 20
BUDGET_S = 20.0
CLIP_BUDGET_S = 180.0
CLIP_BUDGET_MB = 2000


def main() -> None:
    """Print the table as Markdown."""
    with tempfile.TemporaryDirectory(prefix="medassets-bench-") as name:
        print("\n".join(compare(Path(name), num_rounds=1)))


def compare(folder: Path, *, num_rounds: int) -> list[str]:
    """Return the lines of the table.

    Args:
        folder: Folder for tables and catalogs, which are removed again.
        num_rounds: Rounds of reading partitions; a plan is made once.
    """
    with tempfile.TemporaryDirectory(prefix="catalog-", dir=folder) as name:
        return [*_measure(Path(name), num_rounds), "", *_measure_clips(Path(name), num_rounds)]


def _measure(folder: Path, num_rounds: int) -> list[str]:
    source = folder / "repository"
    make_ct_rate_tables(source)
    workspace = _open(folder, source)
    path = workspace.paths.catalog
    draft, plan_s = _timed(lambda: draft_catalog(workspace))
    _, write_s = _timed(lambda: publish_catalog(workspace.paths, draft))
    _, footer_s = _timed(lambda: read_plan(path))
    keys = list(draft.plan.partitions)[:: len(draft.plan.partitions) // _PARTITIONS_READ]
    reads = [_timed(lambda k=key: read_partition(path, k))[1] for key in keys * num_rounds]
    _, again_s = _timed(lambda: draft_catalog(workspace))
    make_ct_rate_tables(source, num_rows=NUM_CT_RATE_VOLUMES + _NEW_ROWS)
    grown, grow_s = _timed(lambda: draft_catalog(workspace))
    rows = [
        (f"tables to plan, {draft.plan.num_rows:,} rows", f"{plan_s:.1f} s", f"{BUDGET_S:.0f} s"),
        (f"catalog written, {path.stat().st_size / 1e6:.1f} MB", f"{write_s:.2f} s", ""),
        (f"plan read, {len(draft.plan.partitions)} shards", f"{footer_s * 1e3:.0f} ms", ""),
        ("one partition read", f"{statistics.median(reads) * 1e3:.0f} ms", ""),
        ("refresh without news", f"{again_s:.1f} s", f"{BUDGET_S:.0f} s"),
        (
            f"refresh with {_NEW_ROWS:,} new rows, {len(grown.new_partitions)} new shards",
            f"{grow_s:.1f} s",
            f"{BUDGET_S:.0f} s",
        ),
    ]
    lines = [f"| {what} | {took} | {budget} |" for what, took, budget in rows]
    return ["| catalog of CT-RATE's size | measured | budget |", "| --- | --- | --- |", *lines]


def _measure_clips(folder: Path, num_rounds: int) -> list[str]:
    metadata, catalog = folder / "metadata.jsonl", folder / "clips.parquet"
    few, half, whole = (folder / name for name in ("few", "half", "all"))
    vids = make_clip_metadata(metadata, num_clips=NUM_CLIPS, num_videos=NUM_VIDEOS)
    for videos, step in ((few, 1000), (half, 2), (whole, 1)):
        make_empty_videos(videos, vids[::step])
    costs = {
        "every thousandth video there": measure_refresh(metadata, few, folder / "few.parquet"),
        "every second video there": measure_refresh(metadata, half, catalog),
        "grown by all others": measure_refresh(metadata, whole, catalog),
        "refresh without news": measure_refresh(metadata, whole, catalog),
        "all videos there": measure_refresh(metadata, whole, folder / "all.parquet"),
    }
    keys = list(read_plan(catalog).partitions)
    chosen = keys[:: len(keys) // _PARTITIONS_READ] * num_rounds
    reads = [_timed(lambda k=key: read_partition(catalog, k))[1] for key in chosen]
    lines = [
        f"| {what} | {c.num_clips:,} | {c.rows_s:.0f} | {c.plan_s:.0f} | {c.write_s:.0f} | "
        f"{c.total_s:.0f} | {c.peak_mb:,.0f} |"
        for what, c in costs.items()
    ]
    size_mb = catalog.stat().st_size / 1e6
    return [
        f"| catalog of {NUM_CLIPS:,} clips, one core | planned | rows s | plan s | write s | all s "
        f"(budget {CLIP_BUDGET_S:.0f}) | peak MB (budget {CLIP_BUDGET_MB:,}) |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *lines,
        "",
        f"{metadata.stat().st_size / 1e6:,.0f} MB of JSON, {NUM_VIDEOS:,} videos; a catalog of "
        f"{size_mb:,.0f} MB, {len(keys):,} shards, one of them read in "
        f"{statistics.median(reads) * 1e3:.0f} ms.",
    ]


def _open(folder: Path, source: Path) -> Workspace:
    spec = VolumeDatasetSpec(name="scale", source="folder", folder=str(source), hu_rule="none")
    return open_workspace(VolumeDataset(spec), data_root=str(folder / "data"))


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


if __name__ == "__main__":
    main()

"""One refresh of a catalog of clips, in a process of its own on one core.

`python -m benchmarks.clip_catalog METADATA VIDEOS CATALOG` makes the catalog, or grows it, and prints
what that cost as JSON. Probing is left out: it answers at once, for the files hold nothing.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from medassets.shards.catalog.files import write_catalog
from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.catalog.previous import open_previous
from medassets.specs import VideoClipDatasetSpec
from medassets.video.catalog.rows import read_video_rows
from medassets.video.catalog.sources.registry import open_video_source
from medassets.video.facts import VideoFacts

SAMPLES_PER_SHARD = 512
_FACTS = VideoFacts("h264", "yuv420p", 640, 360, 0, False, 10_000_000, 30.0, True)


@dataclass(frozen=True)
class RefreshCost:
    """What one refresh took.

    Attributes:
        rows_s: Seconds until all rows were there: metadata, matching, keys.
        plan_s: Seconds of planning.
        write_s: Seconds of writing the catalog.
        peak_mb: Most memory the process ever held, in 10**6 bytes, libraries included.
        num_rows: Rows of the catalog.
        num_clips: Those in shards.
        num_probed: Files that were probed.
    """

    rows_s: float
    plan_s: float
    write_s: float
    peak_mb: float
    num_rows: int
    num_clips: int
    num_probed: int

    @property
    def total_s(self) -> float:
        """All seconds."""
        return self.rows_s + self.plan_s + self.write_s


def measure_refresh(metadata: Path, videos: Path, catalog: Path) -> RefreshCost:
    """Refresh a catalog in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.clip_catalog", metadata, videos, catalog]
    top = Path(__file__).parents[1]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, cwd=top)
    return RefreshCost(**json.loads(done.stdout))


def refresh(metadata: Path, videos: Path, catalog: Path) -> RefreshCost:
    """Make or grow a catalog as `draft_catalog` and `publish_catalog` do."""
    spec = VideoClipDatasetSpec(name="scale", videos_dir=str(videos), metadata=str(metadata))
    probed: list[str] = []

    def probe_all(files: Mapping[str, Path]) -> dict[str, VideoFacts]:
        probed.extend(files)
        return dict.fromkeys(files, _FACTS)

    started = time.perf_counter()
    with open_previous(catalog, spec.name) as stored:
        rows = read_video_rows(
            open_video_source(spec),
            previous=stored.read_slim() if stored is not None else None,
            split_mode="random",
            seed=0,
            probe_all=probe_all,
        )
        read = time.perf_counter()
        table = plan_catalog(
            rows,
            stored.read_keys() if stored is not None else None,
            samples_per_shard=SAMPLES_PER_SHARD,
            pinned=False,
            fetch=stored.fetch if stored is not None else None,
        )
    planned = time.perf_counter()
    write_catalog(table, catalog)
    plan = plan_of(table)
    return RefreshCost(
        rows_s=read - started,
        plan_s=planned - read,
        write_s=time.perf_counter() - planned,
        peak_mb=_peak_mb(),
        num_rows=plan.num_rows,
        num_clips=sum(plan.partitions.values()),
        num_probed=len(probed),
    )


def _peak_mb() -> float:
    # Not what getrusage tells: that includes the process this one was forked from.
    lines = Path("/proc/self/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kilobytes) * 1024 / 1e6


def main() -> None:
    """Run one refresh and print its cost."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cost = refresh(*(Path(argument).absolute() for argument in sys.argv[1:4]))
    print(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()

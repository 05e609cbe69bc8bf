"""A served dataset that no user looks after: its processes are killed, its source grows and goes away."""

import json
import math
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg

from medassets.datasets.automation.attempts import Attempts, AttemptsLog
from medassets.stages import CommonStage
from medassets.storage.paths import DatasetPaths
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.instance.served import find_processes, kill_all

DECLARATION = """
type: medassets.components.VolumeDatasetComponent
attributes:
  name: lungs
  repo_id: org/ct
  endpoint: {endpoint}
  splits: [train]
  hu_rule: none
  target_spacing_mm: [4.0, 4.0, 8.0]
  target_shape: [24, 20, 12]
  samples_per_shard: 3
  max_rejected_share: 0.3
  max_excluded_share: 1.0
  num_workers: 1
  automation: "on"
  catalog_cron: "* * * * *"
"""
DATASET = "lungs"
SAMPLES_PER_SHARD = 3
LONGEST_WAIT_S = 1500.0
_PARTITION_TAGS = ("dagster/partition", "dagster/asset_partition_range_start")


@dataclass
class Unattended:
    """A home and its source.

    Attributes:
        source: The Hub's repository.
        hub: The Hub.
        home: MEDASSETS_HOME.
        environment: Variables of the server.
        num_patients: Patients that the Hub has.
        listed: Each number of samples that the manifest listed, in order.
        server: The running server; None when it was not started yet, or killed.
    """

    source: Path
    hub: LocalHub
    home: Path
    environment: dict[str, str]
    num_patients: int
    listed: list[int] = field(default_factory=list)
    server: "subprocess.Popen[bytes] | None" = None

    @property
    def folder(self) -> Path:
        """The folder of the shards."""
        return self.home / "data" / DATASET / "train"

    def shards(self) -> list[Path]:
        """Return the shards on disk."""
        return sorted(self.folder.glob("shard-*.tar"))

    def num_listed(self) -> int:
        """Return the number of samples that the manifest lists."""
        manifest = self.folder / "manifest.json"
        return json.loads(manifest.read_bytes())["total_samples"] if manifest.exists() else 0

    def num_files(self) -> int:
        """Return the number of volumes that the Hub has."""
        return len(list(self.source.rglob("*.nii.gz")))

    def is_complete(self) -> bool:
        """Return whether all shards are made and listed, and nothing but a refresh is tried."""
        num_files = self.num_files()
        has_all = len(self.shards()) == math.ceil(num_files / SAMPLES_PER_SHARD)
        is_tried = any(item != CommonStage.CATALOG for item in self.attempts().tries)
        return has_all and self.num_listed() == num_files and not is_tried

    def note(self, text: str) -> None:
        """Add a line to `figures.txt`, for who runs the test at full size."""
        with self.home.with_name("figures.txt").open("a") as file:
            file.write(f"{time.strftime('%H:%M:%S')} {text}\n")

    def attempts(self) -> Attempts:
        """Return what automation noted."""
        return AttemptsLog(DatasetPaths(self.home / "data", DATASET)).read()

    def grow(self) -> None:
        """Let the Hub have one patient more, in a new commit."""
        self.num_patients += 1
        larger = self.source.with_name(f"{self.num_patients} patients")
        make_source(larger, self.num_patients)
        for file in larger.rglob("*"):
            target = self.source / file.relative_to(larger)
            if file.is_file() and (file.suffix != ".gz" or not target.exists()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)
        self.hub.refresh()

    def serve(self) -> None:
        """Start `medassets up` as a user does, unless it runs."""
        if self.server is not None and self.server.poll() is None:
            return
        command = [sys.executable, "-m", "medassets", "up", "--port", "0"]
        env = {**os.environ, "MEDASSETS_HOME": str(self.home), **self.environment}
        with self.home.with_name("up.log").open("ab") as log:
            self.server = subprocess.Popen(command, env=env, stdout=log, stderr=log)

    def kill_everything(self) -> None:
        """End all processes of the home at once, as a power cut does."""
        while processes := find_processes(self.home):
            kill_all(processes)
            self.note(f"killed {len(processes)} processes")
            if self.server is not None:
                self.server.wait()
                self.server = None
            time.sleep(0.1)

    @contextmanager
    def watching_manifest(self) -> Iterator[None]:
        """Note each number of samples that the manifest lists, until the block is left."""
        stopping = threading.Event()

        def watch() -> None:
            while not stopping.wait(0.05):
                if (found := self.num_listed()) != self.listed[-1]:
                    self.listed.append(found)

        self.listed = [self.num_listed()]
        thread = threading.Thread(target=watch)
        thread.start()
        try:
            yield
        finally:
            stopping.set()
            thread.join()

    def wait_until(
        self, is_so: Callable[[], bool], what: str, *, at_most_s: float | None = None
    ) -> None:
        """Wait until something is so, or for some seconds.

        Args:
            is_so: What is waited for.
            what: What it is called.
            at_most_s: Return after these seconds; None fails after `LONGEST_WAIT_S`.
        """
        start = time.monotonic()
        while not is_so():
            waited_s = time.monotonic() - start
            if at_most_s is not None and waited_s >= at_most_s:
                return
            assert waited_s < LONGEST_WAIT_S, (what, self.listed, self.attempts())
            time.sleep(0.25)
        self.note(f"{what} after {time.monotonic() - start:.0f} s")

    def records(self) -> list[dg.RunRecord]:
        """Return all runs on record, in the order of their creation."""
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            return list(instance.get_run_records(ascending=True))

    def count_computed(self, since: float) -> Counter[str]:
        """Return how often each shard was computed since a time, by partition; others adopted it."""
        computed: Counter[str] = Counter()
        with dg.DagsterInstance.from_config(str(self.home / "dagster")) as instance:
            page = instance.fetch_materializations(dg.AssetKey([DATASET, "shards"]), limit=1000)
            for record in page.records:
                made = record.asset_materialization
                assert made is not None
                if record.timestamp >= since and not made.metadata["medassets/adopted"].value:
                    computed[str(made.partition)] += 1
        return computed


@contextmanager
def serving_source(folder: Path, *, num_patients: int) -> Iterator[Unattended]:
    """Declare a dataset of a synthetic repository behind a Hub, automated.

    Args:
        folder: Where everything is.
        num_patients: Patients of the repository at first; each has two or three volumes.
    """
    source = folder / "source"
    make_source(source, num_patients)
    file = folder / "declared" / DATASET / "defs.yaml"
    file.parent.mkdir(parents=True)
    with LocalHub(source, "org/ct") as hub:
        file.write_text(DECLARATION.format(endpoint=hub.endpoint))
        environment = {"MEDASSETS_DEFS": str(file.parent.parent)}
        home = folder / "home"
        site = Unattended(source, hub, home, environment, num_patients)
        try:
            yield site
        finally:
            site.kill_everything()


def make_source(folder: Path, num_patients: int) -> None:
    """Make a repository; that of more patients begins with the same ones."""
    make_ct_rate_repository(
        folder, num_patients=num_patients, splits=("train",), special_rows=False
    )


def find_doubles(records: list[dg.RunRecord]) -> list[tuple[str, str, str]]:
    """Return pairs of runs that made, or waited to make, the same at once.

    Args:
        records: Runs, in the order of their creation.

    Returns:
        Item, id of the earlier run, id of the later one. Items are partitions and the names of jobs.
    """
    last: dict[str, tuple[str, float]] = {}
    doubles: list[tuple[str, str, str]] = []
    for record in records:
        run, begin = record.dagster_run, record.create_timestamp.timestamp()
        end = record.end_time if run.is_finished and record.end_time else float("inf")
        for item in name_items(run):
            before, ended = last.get(item, ("", 0.0))
            if begin < ended:
                doubles.append((item, before, run.run_id))
            last[item] = (run.run_id, max(end, ended))
    return doubles


def name_items(run: dg.DagsterRun) -> list[str]:
    """Return what a run makes: a shard, or assets without partitions."""
    found = [run.tags[tag] for tag in _PARTITION_TAGS if tag in run.tags]
    if found:
        return found[:1]
    selected = run.asset_selection or ()
    return [key.path[-1] for key in selected] or [run.job_name.removeprefix(f"{DATASET}_")]


def draw_instants(rng: random.Random, count: int, length_s: float) -> list[float]:
    """Return instants, in seconds, drawn uniformly over a length of time, in order."""
    return sorted(rng.uniform(0, length_s) for _ in range(count))

"""Four runs of the queue and a build of the command at once, killed at random, on each database."""

import hashlib
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import dagster as dg
import psutil
import pytest

from medassets.instance.home import ensure_dagster_home
from medassets.instance.postgres import read_url
from medassets.instance.settings import write_settings
from medassets_tests.cli.waiting import wait_until
from medassets_tests.instance.postgres_server import running_postgres
from medassets_tests.instance.served import (
    DATASET,
    STATUS,
    Site,
    find_daemons,
    find_workers,
    kill_all,
    kill_home,
    launch_backfill,
    materialize_catalog,
    serving_site,
)
from medassets_tests.running_ui import RunningUi

pytestmark = pytest.mark.slow

NUM_PATIENTS = int(os.environ.get("MEDASSETS_TEST_PATIENTS", "2"))
"""A patient has two or three shards; 80 make 200."""
NUM_KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "1"))
SEED = int(os.environ.get("MEDASSETS_TEST_SEED", "13"))
LONGEST_S = 300 + 60 * NUM_PATIENTS
NUM_AT_ONCE = 4
_LOG = logging.getLogger(__name__)


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, tmp_path: Path, home: Path) -> Iterator[Site]:
    """A home that runs four shards at once, with its record in files or in PostgreSQL."""
    with ExitStack() as stack:
        dagster_home = ensure_dagster_home()
        os.environ.pop("DAGSTER_HOME")
        if request.param == "postgres":
            url = read_url(stack.enter_context(running_postgres()), field="url")
            write_settings(dagster_home, postgres_url=url.render_as_string(hide_password=False))
        settings = dagster_home / "dagster.yaml"
        two = "max_concurrent_runs: 2\n"
        assert two in settings.read_text()
        settings.write_text(
            settings.read_text().replace(two, f"max_concurrent_runs: {NUM_AT_ONCE}\n")
        )
        yield stack.enter_context(serving_site(tmp_path, num_patients=NUM_PATIENTS))


@dataclass
class Crowd:
    """A server with its queue, and a build of the command beside it.

    Attributes:
        site: The home.
        stack: Ends the servers that were started.
        starts: Number of servers that were started.
        killed: The runs that may have ended by a kill.
        whole: What the tars were like that had a record at the instant of a kill.
    """

    site: Site
    stack: ExitStack
    starts: int = 0
    killed: set[str] = field(default_factory=set)
    whole: dict[Path, tuple[int, int]] = field(default_factory=dict)
    ui: RunningUi = field(init=False)
    build: subprocess.Popen[bytes] = field(init=False)

    @property
    def logs(self) -> Path:
        """Folder of the outputs of all starts."""
        return self.site.home.parent / "logs"

    def start_server(self) -> None:
        """Start the server as a user does."""
        self.keep_log()
        self.ui = self.stack.enter_context(self.site.running())
        self.starts += 1

    def keep_log(self) -> None:
        """Copy the output of the last server, which the next one replaces."""
        self.logs.mkdir(exist_ok=True)
        last = self.site.home.parent / "ui.log"
        if last.exists():
            (self.logs / f"up-{self.starts}.log").write_bytes(last.read_bytes())

    def start_build(self) -> None:
        """Start a build beside the queue."""
        self.build = start_command(self.site, "build", log=self.logs / "build.log")

    def kill(self, victim: str, random: Random) -> None:
        """Kill a process or all of them, and start again what nothing else does."""
        assert self.build.poll() in (None, 0), (self.logs / "build.log").read_text()
        self.killed |= self.site.ids_in(STATUS.STARTING, STATUS.NOT_STARTED)
        workers = sorted(find_workers(self.site).items())
        if victim == "worker" and workers:
            run, pid = random.choice(workers)
            self.killed.add(run)
            kill_all([psutil.Process(pid)])
        elif victim == "daemon":
            kill_all(find_daemons(self.ui))
        elif victim == "everything":
            self.killed |= self.site.ids_in(STATUS.STARTED)
            kill_home(self.site.home)
            self.start_server()
        if self.build.poll() is not None or victim == "build":
            self.build.kill()
            self.build.wait()
            self.start_build()

    def check_whole(self) -> None:
        """Check that no shard was replaced that had a record at the instant of an earlier kill."""
        now = find_whole(self.site)
        assert {path: now.get(path) for path in self.whole} == self.whole, f"seed {SEED}"
        self.whole = now


def test_each_shard_is_computed_once_and_the_record_is_whole(site: Site, tmp_path: Path) -> None:
    random = Random(SEED)
    with ExitStack() as stack:
        crowd = Crowd(site, stack)
        crowd.start_server()
        keys = materialize_catalog(site, crowd.ui)
        launch_backfill(crowd.ui, keys)
        wait_until(lambda: bool(site.runs(STATUS.STARTED)), 150)
        crowd.start_build()
        for reached in sorted(random.choices(range(len(keys)), k=NUM_KILLS)):
            wait_until(lambda reached=reached: len(find_whole(site)) >= reached, LONGEST_S)
            time.sleep(random.uniform(0, 3))
            victim = random.choice(["worker", "build", "daemon", "everything"])
            crowd.check_whole()
            crowd.kill(victim, random)
            _LOG.info("%s killed at %d of %d shards", victim, len(crowd.whole), len(keys))
            crowd.check_whole()
        assert crowd.build.wait(LONGEST_S) == 0, (crowd.logs / "build.log").read_text()
        crowd.check_whole()
        wait_until(lambda: not site.unfinished(), LONGEST_S)
        crowd.keep_log()
    assert len(site.shards()) == len(crowd.whole) == len(keys)
    check_history(site, keys, crowd.killed)
    check_fetched(site, tmp_path / "source")
    for written in (*crowd.logs.iterdir(), site.home / "dagster" / "daemon.log"):
        assert "is locked" not in written.read_text()  # of SQLite: database, table
    assert start_command(site, "verify", log=crowd.logs / "verify.log").wait(LONGEST_S) == 0
    other = Site(tmp_path / "undisturbed", site.hub, site.environment)
    assert start_command(other, "build", log=crowd.logs / "undisturbed.log").wait(LONGEST_S) == 0
    assert digest_all(site) == digest_all(other)


def start_command(site: Site, command: str, *, log: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "MEDASSETS_HOME": str(site.home), **site.environment}
    environment.pop("DAGSTER_HOME", None)
    words = [sys.executable, "-m", "medassets", command, DATASET]
    with log.open("ab") as output:
        return subprocess.Popen(words, env=environment, stdout=output, stderr=output)


def find_whole(site: Site) -> dict[Path, tuple[int, int]]:
    """Return inode and time of each tar that has its record."""
    shards = [path for path in site.shards() if path.with_suffix(".json").exists()]
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shards}


def digest_all(site: Site) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in site.shards()}


def check_history(site: Site, keys: list[str], killed: set[str]) -> None:
    """Check that each shard is on record and was computed once, and each run has its end."""
    computed = count_computed(site)
    assert computed.keys() == set(keys)
    assert set(computed.values()) <= {0, 1}
    # A process that was killed after it published a shard reported nothing; the next one adopted it.
    assert list(computed.values()).count(0) <= NUM_KILLS * (NUM_AT_ONCE + 1)
    runs = [run for run in site.runs() if "dagster/backfill" in run.tags]
    assert len(runs) == len(keys)
    failed = {run.run_id for run in runs if run.status is not STATUS.SUCCESS}
    assert failed <= killed
    with site.instance() as instance:
        for run in runs:
            events = [event.dagster_event_type for event in instance.all_logs(run.run_id)]
            wanted = [dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS]
            assert wanted[run.run_id not in failed] in events


def check_fetched(site: Site, source: Path) -> None:
    """Check that no volume was fetched twice; a killed process may lose the end of one."""
    fetched = {path: n for path, n in site.hub.sent_bytes().items() if path.endswith(".nii.gz")}
    sizes = {path: (source / path).stat().st_size for path in fetched}
    again = [path for path in fetched if fetched[path] != sizes[path]]
    assert len(again) <= NUM_KILLS * (NUM_AT_ONCE + 1), again


def count_computed(site: Site) -> dict[str, int]:
    """Return how often each shard was computed, by partition; others adopted it."""
    computed: Counter[str] = Counter()
    key = dg.AssetKey([DATASET, "shards"])
    with site.instance() as instance:
        cursor = None
        while True:
            page = instance.fetch_materializations(key, limit=1000, cursor=cursor)
            for record in page.records:
                made = record.asset_materialization
                assert made is not None
                assert made.partition is not None
                adopted = made.metadata["medassets/adopted"].value
                computed[made.partition] += not adopted
            if not page.has_more:
                return dict(computed)
            cursor = page.cursor

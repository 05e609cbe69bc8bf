"""Four runs of the queue and a build of the command at once, on each database."""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
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
    launch_backfill,
    materialize_catalog,
    serving_site,
)

pytestmark = pytest.mark.slow

NUM_PATIENTS = int(os.environ.get("MEDASSETS_TEST_PATIENTS", "3"))
"""A patient has two or three shards; 80 make 200."""
LONGEST_S = 60 + 20 * NUM_PATIENTS
NUM_AT_ONCE = 4


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


def test_each_shard_is_computed_once_and_the_record_is_whole(site: Site, tmp_path: Path) -> None:
    log = tmp_path / "build.log"
    with site.running() as ui, log.open("wb") as output:
        keys = materialize_catalog(site, ui)
        launch_backfill(ui, keys)
        wait_until(lambda: bool(site.runs(STATUS.STARTED)), 150)
        environment = {**os.environ, "MEDASSETS_HOME": str(site.home), **site.environment}
        command = [sys.executable, "-m", "medassets", "build", DATASET]
        build = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        assert build.wait(LONGEST_S) == 0, log.read_text()
        wait_until(lambda: count_of_backfill(site) == {"SUCCESS": len(keys)}, LONGEST_S)
    assert len(site.shards()) == len(keys)
    assert count_computed(site) == dict.fromkeys(keys, 1)
    fetched = {path for path in site.hub.sent_bytes() if path.endswith(".nii.gz")}
    sizes = {path: (tmp_path / "source" / path).stat().st_size for path in fetched}
    assert {path: site.hub.sent_bytes()[path] for path in fetched} == sizes
    for written in (log, tmp_path / "ui.log", site.home / "dagster" / "daemon.log"):
        assert "locked" not in written.read_text()


def count_of_backfill(site: Site) -> dict[str, int]:
    runs = [run for run in site.runs() if "dagster/backfill" in run.tags]
    return dict(Counter(run.status.value for run in runs))


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

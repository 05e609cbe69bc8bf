"""An unattended dataset: real webserver, daemon, code server, schedule, and a local Hub; all are killed."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from medassets.instance.retention import purge_tick_logs
from medassets.instance.run_tags import AUTOMATED_TAG, LAUNCHED_BY_TAG
from medassets.testing.hub import LocalHub
from medassets_tests.cli.building import build_declared
from medassets_tests.cli.unattended import (
    DATASET,
    Unattended,
    draw_instants,
    find_doubles,
    name_items,
    serving_source,
)

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "1"))
"""Times that everything is killed while the source grows, and again while the Hub is away.

With 3 or more, the source grows three times, and ten shards wait for the Hub.
"""
CLOCK = float(os.environ.get("MEDASSETS_TEST_CLOCK", "30"))
"""How much faster the clock of automation runs: its waits of 10 min, 1 h and 6 h, and the 30 min for
which the Hub is away, are divided by it. Dagster's own clocks (30 s, 60 s) are not."""
NUM_GROWTHS, NUM_PATIENTS = (3, 10) if NUM_KILLS >= 3 else (1, 2)
SEED = int(os.environ.get("MEDASSETS_TEST_SEED", "13"))
RETRY_S = [wait / CLOCK for wait in (600, 3600, 21600)]
AWAY_S = 1800 / CLOCK
GROWTH_S = 130.0
"""From a source that has grown to the manifest of all it has: 80 to 150 s, undisturbed."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Unattended]:
    """A dataset that is built, and automated with a fast clock; its last shard is not full."""
    with serving_source(tmp_path, num_patients=NUM_PATIENTS) as site:
        site.environment["MEDASSETS_RETRY_SECONDS"] = ",".join(map(str, RETRY_S))
        build_declared(tmp_path, DATASET)
        yield site


@pytest.mark.timeout(6000)
def test_a_dataset_grows_and_outlives_an_outage_hands_off(site: Unattended) -> None:
    rng = random.Random(SEED)
    with site.watching_manifest():
        instants = [rng.uniform(0, GROWTH_S) for _ in range(NUM_KILLS)]
        for growth in range(NUM_GROWTHS):
            grow(site, instants[growth::NUM_GROWTHS])
    outlive_outage(site, draw_instants(rng, NUM_KILLS, AWAY_S))
    site.kill_everything()

    runs = [record.dagster_run for record in site.records()]
    # Neither runs of the command that built it, nor the summary of each hour.
    others = [run for run in runs if run.job_name != f"{DATASET}_summary"]
    assert all(AUTOMATED_TAG in run.tags for run in others if LAUNCHED_BY_TAG not in run.tags)
    # The clock reached a minute, and its tick refreshed the catalog.
    assert any(
        run.status is dg.DagsterRunStatus.SUCCESS
        and run.tags.get("dagster/schedule_name") == f"{DATASET}_catalog_schedule"
        for run in runs
    )
    logs = list((site.home / "dagster" / "storage" / "__repository__").rglob("*.err"))
    with dg.DagsterInstance.from_config(str(site.home / "dagster")) as instance:
        assert purge_tick_logs(instance, keep_days=0) == len(logs) > 0
    assert not any(log.exists() for log in logs)


def grow(site: Unattended, kills_s: list[float]) -> None:
    """Let the source grow: the short last shard changes, and the manifest never lists less.

    Args:
        site: The dataset.
        kills_s: Seconds for which it works before everything is killed, each time.
    """
    last, before = site.shards()[-1], site.shards()[-1].read_bytes()
    site.grow()
    for kill_s in kills_s:
        site.serve()
        site.wait_until(site.is_complete, "complete before it was killed", at_most_s=kill_s)
        site.kill_everything()
        check(site, f"seed {SEED}, killed after {kill_s:.1f} s of {kills_s}")
    site.serve()
    site.wait_until(site.is_complete, "complete")
    check(site, f"seed {SEED}, after {kills_s}")
    assert last.read_bytes() != before


def outlive_outage(site: Unattended, kills_s: list[float]) -> None:
    """Let the Hub go away with all shards to make: they are made after its return.

    Args:
        site: The dataset.
        kills_s: Seconds from the beginning to the moments when everything is killed.
    """
    endpoint, shards = site.hub.endpoint, site.shards()
    site.hub.close()
    for shard in shards:
        shard.unlink()
        shard.with_suffix(".json").unlink()
    begin = time.monotonic()
    for kill_s in kills_s:
        site.serve()
        time.sleep(max(0.0, begin + kill_s - time.monotonic()))
        site.kill_everything()
        check(site, f"seed {SEED}, killed after {kill_s:.1f} s of {kills_s}")
    site.serve()
    time.sleep(max(0.0, begin + AWAY_S - time.monotonic()))
    site.wait_until(lambda: (away := site.attempts().away) is not None and away.looks > 1, "away")
    check(site, f"seed {SEED}, away")
    assert site.shards() == []
    returned = time.time()
    with LocalHub(site.source, "org/ct", port=int(endpoint.rpartition(":")[2])) as hub:
        site.wait_until(site.is_complete, "complete after the Hub's return")
        sent = {path: size for path, size in hub.sent_bytes().items() if is_volume(path)}
    check(site, f"seed {SEED}, after the outage")
    assert site.shards() == shards
    assert site.attempts().away is None
    # Nothing was made twice, or fetched twice.
    assert site.count_computed(returned) == dict.fromkeys((name_key(s) for s in shards), 1)
    assert sent == {path: (site.source / path).stat().st_size for path in sent}
    assert len(sent) == site.num_files()


def check(site: Unattended, when: str) -> None:
    """Check what must be so at any moment."""
    records = site.records()
    unfinished = [
        f"{r.dagster_run.status.value} {name_items(r.dagster_run)}"
        for r in records
        if not r.end_time
    ]
    site.note(f"{when}: {unfinished}, listed {site.listed}")
    assert site.listed == sorted(site.listed), when
    assert find_doubles(records) == [], when
    assert all(tries.failures == 0 for tries in site.attempts().tries.values()), when


def is_volume(path: str) -> bool:
    """Return whether a file of the Hub is a volume."""
    return path.endswith(".nii.gz")


def name_key(shard: Path) -> str:
    """Return the partition key of a shard."""
    return f"{shard.parent.name}-{shard.stem.removeprefix('shard-')}"

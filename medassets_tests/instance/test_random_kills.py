"""Processes killed at random instants of a backfill: no run stays behind, and the queue goes on."""

import logging
import os
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from random import Random

import psutil
import pytest

from medassets.instance.run_tags import PROCESS_TAG, format_tag
from medassets_tests.cli.waiting import are_gone, wait_until
from medassets_tests.instance.killed import reused, waiting_process
from medassets_tests.instance.served import (
    STATUS,
    Site,
    count_backfills_at_work,
    find_daemons,
    find_processes,
    find_workers,
    forge_event_pid,
    is_code_server,
    kill_all,
    kill_home,
    launch_backfill,
    list_runs_of,
    materialize_catalog,
    serving_site,
)
from medassets_tests.running_ui import RunningUi

pytestmark = pytest.mark.slow

NUM_KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "1"))
SEED = int(os.environ.get("MEDASSETS_TEST_SEED", "13"))
WITHIN_S = float(os.environ.get("MEDASSETS_TEST_WITHIN_S", "180"))
"""Longest time until dead runs have ended and the queue moves; 60 on a quiet machine."""
NUM_SHARDS = 4
IN_PROGRESS = {STATUS.NOT_STARTED, STATUS.STARTING, STATUS.STARTED, STATUS.CANCELING}
PHASES = {"created": 0.5, "starting": 5.0, "started": 5.0, "waiting": 5.0, "ending": 5.0}
"""The phases of a backfill, and the seconds over which the instant of a kill is drawn in each."""
_LOG = logging.getLogger(__name__)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A declared dataset of five shards."""
    with serving_site(tmp_path, num_patients=2) as site:
        yield site


def test_no_run_stays_behind_a_power_cut(site: Site) -> None:
    random = Random(SEED)
    with site.running() as ui:
        keys = materialize_catalog(site, ui)[:NUM_SHARDS]
        dead = cut_power(site, ui, keys, random)
    for number in range(1, NUM_KILLS + 1):
        # The kernel tells starts to a second, and gives an id anew only after all others.
        time.sleep(2.5)
        with waiting_process() as foreign:
            reuse_ids(site, foreign, random)
            begin = time.monotonic()
            with site.running() as ui:
                check_recovery(site, dead, begin)
                assert_each_made_by_one_run(site, keys)
                if number < NUM_KILLS:
                    dead = cut_power(site, ui, keys, random)
    assert "not sent heartbeats" not in (site.home / "dagster" / "daemon.log").read_text()


def test_a_process_killed_alone_ends_its_own_run_at_most(site: Site) -> None:
    random = Random(SEED)
    with ExitStack() as stack:
        ui = stack.enter_context(site.running())
        keys = materialize_catalog(site, ui)[:NUM_SHARDS]
        for _ in range(NUM_KILLS):
            launch_when_served(site, ui, keys)
            wait_until(
                lambda: {STATUS.STARTED, STATUS.QUEUED} <= {*site.unfinished().values()}, 150
            )
            time.sleep(random.uniform(0, 5))
            before = site.unfinished()
            victim = random.choice(["worker", "code server", "daemon", "server"])
            mortal = kill_one(site, ui, victim, random)
            begin = time.monotonic()
            if victim == "server":
                ui = stack.enter_context(site.running())
            check_queue_moves(site, before, f"{victim}, seed {SEED}", begin)
            wait_until(lambda: not site.unfinished(), 300)
            # The run of a worker, and one that was being started by a code server or daemon.
            mortal |= {run for run, status in before.items() if status is STATUS.STARTING}
            failed = {run.run_id for run in site.runs(STATUS.FAILURE)}
            assert failed & before.keys() <= mortal, f"{victim}, seed {SEED}"
            wait_until(lambda: not count_backfills_at_work(site), 120)
            assert_each_made_by_one_run(site, keys)


def cut_power(site: Site, ui: RunningUi, keys: list[str], random: Random) -> dict[str, STATUS]:
    """Launch a backfill and kill everything at a random instant of it.

    Returns:
        The states of the unfinished runs, by id.
    """
    site.clear()
    phase = random.choice(list(PHASES))
    if phase == "waiting":
        site.stall()
    backfill = launch_backfill(ui, keys)
    wait_until(lambda: has_reached(site, backfill, phase), 150)
    time.sleep(random.uniform(0, PHASES[phase]))
    assert ui.process.pid in [process.pid for process in find_processes(site.home)]
    kill_home(site.home)
    site.hub.heal()
    dead = site.unfinished()
    _LOG.info("power cut in phase %s: %s", phase, Counter(one.value for one in dead.values()))
    return dead


def has_reached(site: Site, backfill: str, phase: str) -> bool:
    states = Counter(run.status for run in list_runs_of(site, backfill))
    if phase == "created":
        return bool(states)
    if phase == "waiting":
        return states[STATUS.STARTED] == 2 and states[STATUS.QUEUED] > 0
    if phase == "ending":
        return states[STATUS.SUCCESS] > 0
    return states[STATUS.STARTED] > 0 or (phase == "starting" and states[STATUS.STARTING] > 0)


def reuse_ids(site: Site, foreign: subprocess.Popen[bytes], random: Random) -> None:
    """Let the kernel give the ids of dead runs' processes to another one."""
    for run, pid in find_workers(site, STATUS.STARTING, STATUS.STARTED).items():
        if random.random() < 0.5:
            with site.instance() as instance:
                instance.add_run_tags(run, {PROCESS_TAG: format_tag(reused(foreign), run)})
        else:
            forge_event_pid(site, run, old=pid, new=foreign.pid)


def check_recovery(site: Site, dead: dict[str, STATUS], begin: float) -> None:
    """Check that dead runs fail, the queue moves, and all comes to its end."""
    launched = {run for run, status in dead.items() if status in IN_PROGRESS}
    # A run that was being created may be taken over by its backfill.
    created = {run for run, status in dead.items() if status is STATUS.NOT_STARTED}

    def are_failed() -> bool:
        return launched - created <= {run.run_id for run in site.runs(STATUS.FAILURE)}

    def are_past() -> bool:
        return not created & {run.run_id for run in site.runs(STATUS.NOT_STARTED)}

    wait_until(lambda: are_failed() and are_past(), WITHIN_S)
    _LOG.info("%d dead runs ended after %.1f s", len(launched), time.monotonic() - begin)
    check_queue_moves(site, dead, f"power cut, seed {SEED}", begin)
    wait_until(lambda: not site.unfinished() and not count_backfills_at_work(site), 300)
    failed = {run.run_id for run in site.runs(STATUS.FAILURE)}
    assert failed & dead.keys() <= launched, f"seed {SEED}"


def check_queue_moves(site: Site, before: dict[str, STATUS], what: str, begin: float) -> None:
    """Check that a run that waited at the instant of a kill starts within a minute."""
    waited = {run for run, status in before.items() if status is STATUS.QUEUED}

    def moves() -> bool:
        return bool(waited & {run.run_id for run in site.runs(STATUS.STARTED, STATUS.SUCCESS)})

    if waited:
        wait_until(moves, WITHIN_S)
        _LOG.info("%s: the queue moved after %.1f s", what, time.monotonic() - begin)


def launch_when_served(site: Site, ui: RunningUi, keys: list[str]) -> None:
    """Launch a backfill as soon as the server has a code server."""
    site.clear()
    begin = time.monotonic()
    wait_until(lambda: launches(ui, keys), WITHIN_S)
    _LOG.info("a backfill was launched after %.1f s", time.monotonic() - begin)


def launches(ui: RunningUi, keys: list[str]) -> bool:
    try:
        return bool(launch_backfill(ui, keys))
    except AssertionError as error:
        _LOG.info("not launched: %.200s", error)
        return False


def kill_one(site: Site, ui: RunningUi, victim: str, random: Random) -> set[str]:
    """Kill one process; return the runs that end with it."""
    if victim == "worker":
        run, pid = random.choice(sorted(find_workers(site).items()))
        kill_all([psutil.Process(pid)])
        return {run}
    if victim == "code server":
        servers = [p for p in find_processes(site.home) if is_code_server(p)]
        kill_all([random.choice(servers)])
    else:
        daemons = find_daemons(ui)
        # The keeper starts a killed daemon again; a killed server's daemon ends by itself.
        kill_all([psutil.Process(ui.process.pid)] if victim == "server" else daemons)
        wait_until(lambda: are_gone(daemons))
    return set()


def assert_each_made_by_one_run(site: Site, keys: list[str]) -> None:
    """Check that the last backfill has one run for each shard."""
    with site.instance() as instance:
        (backfill,) = instance.get_backfills(limit=1)
    made = Counter(
        run.tags["dagster/asset_partition_range_start"]
        for run in list_runs_of(site, backfill.backfill_id)
    )
    assert made == dict.fromkeys(keys, 1), f"seed {SEED}"

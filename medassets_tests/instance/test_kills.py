"""Everything killed at once, or one process alone: what was running ends, and the queue goes on."""

import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from medassets.instance.run_tags import PROCESS_TAG, format_tag
from medassets_tests.cli.waiting import are_gone, wait_until
from medassets_tests.instance.killed import reused, waiting_process
from medassets_tests.instance.served import (
    STATUS,
    Site,
    find_workers,
    forge_event_pid,
    kill_all,
    launch_backfill,
    materialize_catalog,
    serving_site,
    started_and_waiting,
)
from medassets_tests.running_ui import RunningUi

pytestmark = pytest.mark.slow

NUM_PATIENTS = 3
MOVING_WITHIN_S = 60
"""A queue must move again that long after a power cut."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A declared dataset whose source answers slowly."""
    with serving_site(tmp_path, num_patients=NUM_PATIENTS) as site:
        yield site


def start_two(site: Site, ui: RunningUi) -> list[str]:
    """Let two runs wait for the source and others wait for them; return the ids of the two."""
    keys = materialize_catalog(site, ui)
    site.stall()
    launch_backfill(ui, keys)
    wait_until(started_and_waiting(site), 150)
    return list(find_workers(site))


def test_after_a_power_cut_dead_runs_fail_and_the_queue_moves(site: Site) -> None:
    with site.running() as ui:
        first, second = start_two(site, ui)
        everything = [psutil.Process(ui.process.pid), *ui.descendants()]
        workers = find_workers(site)
        kill_all(everything)
        wait_until(lambda: are_gone(everything))
    site.hub.heal()
    with waiting_process() as foreign:
        # The kernel gave both ids to another process meanwhile.
        with site.instance() as instance:
            instance.add_run_tags(first, {PROCESS_TAG: format_tag(reused(foreign), first)})
        forge_event_pid(site, second, old=workers[second], new=foreign.pid)
        start = time.monotonic()
        with site.running() as ui:
            dead = {first, second}
            wait_until(lambda: dead <= {run.run_id for run in site.runs(STATUS.FAILURE)}, 60)
            wait_until(lambda: bool(site.runs(STATUS.STARTED, STATUS.SUCCESS)), 60)
            assert time.monotonic() - start < MOVING_WITHIN_S
            wait_until(lambda: set(site.count()) == {"FAILURE", "SUCCESS"}, 200)
            assert site.count()["FAILURE"] == 2

"""One process killed alone, each in turn: its own run ends at most, and the queue goes on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from medassets_tests.cli.waiting import are_gone, wait_until
from medassets_tests.instance.served import (
    STATUS,
    Site,
    find_code_servers,
    find_daemons,
    find_processes,
    find_workers,
    is_code_server,
    kill_all,
    launch_backfill,
    materialize_catalog,
    serving_site,
    started_and_waiting,
    terminate_run,
)
from medassets_tests.running_ui import RunningUi

pytestmark = pytest.mark.slow

NUM_PATIENTS = 3


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


def test_one_process_killed_alone_ends_its_own_run_at_most(site: Site) -> None:
    with site.running() as ui:
        first, second = start_two(site, ui)
        workers = find_workers(site)

        # A worker: its run fails, and the next one starts.
        os.kill(workers[first], signal.SIGKILL)
        wait_until(lambda: [run.run_id for run in site.runs(STATUS.FAILURE)] == [first])
        wait_until(lambda: len(find_workers(site)) == 2)

        # The daemon: it is started again, and the runs go on.
        (daemon,) = find_daemons(ui)
        daemon.kill()
        wait_until(lambda: "the daemon ended, exit code -9" in read_log(site))
        wait_until(lambda: any(find_code_servers(one) for one in find_daemons(ui)))

        # The code servers, dead daemon's and new one's: the runs go on, and can be canceled.
        third = next(run for run in find_workers(site) if run != second)
        kill_all([p for p in find_processes(site.home) if is_code_server(p)])
        alive = psutil.Process(find_workers(site)[third])
        assert terminate_run(ui, third)["__typename"] == "TerminateRunSuccess"
        wait_until(lambda: [run.run_id for run in site.runs(STATUS.CANCELED)] == [third])
        wait_until(lambda: are_gone([alive]))
        wait_until(lambda: len(find_workers(site)) == 2, 120)

        # The server: the daemon ends with it, and the runs go on.
        (daemon,) = find_daemons(ui)
        ui.process.kill()
        wait_until(lambda: are_gone([daemon]))
        at_work = find_workers(site)
        assert second in at_work
    site.release()
    with site.running():
        wait_until(lambda: set(site.count()) == {"FAILURE", "CANCELED", "SUCCESS"}, 200)
    assert site.count() == {"FAILURE": 1, "CANCELED": 1, "SUCCESS": 5}
    assert set(at_work) <= {run.run_id for run in site.runs(STATUS.SUCCESS)}


def read_log(site: Site) -> str:
    return (site.home.parent / "ui.log").read_text()

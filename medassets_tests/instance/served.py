"""A dataset of one-sample shards behind a local Hub, made by runs from the queue of a real UI."""

import signal
import socket
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import yaml

from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.cli.waiting import are_gone, wait_until
from medassets_tests.running_ui import RunningUi, run_ui

DATASET = "lungs"
_SELECTOR = {"repositoryLocationName": "medassets", "repositoryName": "__repository__"}
_LAUNCH_JOB = """mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
_LAUNCH_BACKFILL = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_TERMINATE = """mutation Stop($id: String!) { terminateRun(runId: $id) {
  __typename ... on TerminateRunFailure { message } ... on PythonError { message } } }"""
_PARTITION_TAG = "dagster/asset_partition_range_start"
_SLOW_BYTES_PER_S = 100

STATUS = dg.DagsterRunStatus


@dataclass(frozen=True)
class Site:
    """A home with a declared dataset, and the Hub of its source.

    Attributes:
        home: The home.
        hub: Serves the source; `stall` makes it so slow that a run waits in its first file.
        environment: Variables of the processes that work there.
    """

    home: Path
    hub: LocalHub
    environment: dict[str, str]

    def stall(self) -> None:
        """Let every further volume take minutes."""
        self.hub.fail("slow", "*.nii.gz", times=None, bytes_per_s=_SLOW_BYTES_PER_S)

    def release(self) -> None:
        """Serve at full speed again, also what is being served slowly."""
        self.hub.heal()
        self.hub.close()
        self.hub.start()

    def running(self, *options: str) -> Any:
        """Run the UI and the daemon until the block is left."""
        return run_ui(self.home, *options, **self.environment)

    @contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """Yield the home's instance; to open it takes longer than to ask it."""
        yield self._open_instance

    @cached_property
    def _open_instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home / "dagster"))

    def close(self) -> None:
        """Close the instance if it was opened."""
        if "_open_instance" in self.__dict__:
            self._open_instance.dispose()

    def runs(self, *statuses: STATUS) -> list[dg.DagsterRun]:
        """Return the runs that make shards, in some states or in any."""
        with self.instance() as instance:
            runs = instance.get_runs(dg.RunsFilter(statuses=list(statuses) or None))
        return [run for run in runs if _PARTITION_TAG in run.tags]

    def unfinished(self) -> dict[str, STATUS]:
        """Return the states of the runs that make shards and wait or are in progress."""
        return {run.run_id: run.status for run in self.runs() if not run.is_finished}

    def ids_in(self, *statuses: STATUS) -> set[str]:
        """Return the runs that make shards and are in some states, by id."""
        return {run.run_id for run in self.runs(*statuses)}

    def clear(self) -> None:
        """Remove all shards, so that they are to be made again."""
        for path in (self.home / "data" / DATASET / "train").glob("shard-*"):
            path.unlink()

    def count(self) -> Counter[str]:
        """Return the number of runs that make shards, by state."""
        return Counter(run.status.value for run in self.runs())

    def shards(self) -> list[Path]:
        """Return the tars of all shards."""
        return sorted((self.home / "data" / DATASET / "train").glob("shard-*.tar"))


@contextmanager
def serving_site(folder: Path, *, num_patients: int, **fields: object) -> Iterator[Site]:
    """Declare a dataset of a synthetic repository behind a Hub, with one sample a shard."""
    source = folder / "source"
    make_ct_rate_repository(
        source, num_patients=num_patients, splits=("train",), special_rows=False
    )
    with socket.create_server(("127.0.0.1", 0)) as unused:
        # The hub keeps its address when it is started again.
        port = unused.getsockname()[1]
    with LocalHub(source, "org/ct", port=port) as hub:
        attributes = {
            "name": DATASET,
            "repo_id": "org/ct",
            "endpoint": hub.endpoint,
            "splits": ["train"],
            "hu_rule": "none",
            "target_spacing_mm": [4.0, 4.0, 8.0],
            "target_shape": [24, 20, 12],
            "samples_per_shard": 1,
            "max_rejected_share": 1.0,
            "max_excluded_share": 1.0,
            "num_workers": 1,
            **fields,
        }
        document = {
            "type": "medassets.components.VolumeDatasetComponent",
            "attributes": attributes,
        }
        declaration = folder / "defs" / DATASET / "defs.yaml"
        declaration.parent.mkdir(parents=True)
        declaration.write_text(yaml.safe_dump(document))
        site = Site(folder / "home", hub, {"MEDASSETS_DEFS": str(folder / "defs")})
        try:
            yield site
        finally:
            site.close()
            kill_all(find_processes(site.home))


def materialize_catalog(site: Site, ui: RunningUi) -> list[str]:
    """Press Materialize on the catalog; return the partitions that it found."""
    params = {"selector": {**_SELECTOR, "jobName": f"{DATASET}_catalog"}, "mode": "default"}
    (result,) = ui.ask(_LAUNCH_JOB, params=params).values()
    assert result["__typename"] == "LaunchRunSuccess", result
    keys: list[str] = []

    def found() -> bool:
        with site.instance() as instance:
            run = instance.get_run_by_id(result["run"]["runId"])
            assert run is not None
            assert run.status not in (STATUS.FAILURE, STATUS.CANCELED)
            keys[:] = instance.get_dynamic_partitions(f"{DATASET}_shards")
        return run.status is STATUS.SUCCESS

    wait_until(found, 200)
    return keys


def launch_backfill(ui: RunningUi, keys: list[str]) -> str:
    """Launch a backfill of shards; return its id."""
    params = {"assetSelection": [{"path": [DATASET, "shards"]}], "partitionNames": keys}
    (result,) = ui.ask(_LAUNCH_BACKFILL, params=params).values()
    assert result["__typename"] == "LaunchBackfillSuccess", result
    return result["backfillId"]


def terminate_run(ui: RunningUi, run_id: str) -> dict[str, Any]:
    """Press Terminate on a run."""
    return ui.ask(_TERMINATE, id=run_id)["terminateRun"]


def kill_all(processes: list[psutil.Process]) -> None:
    """End processes at once, as a power cut does."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def kill_home(home: Path) -> None:
    """Kill all that works in a home, and what was started meanwhile, as a power cut does."""

    def are_all_killed() -> bool:
        everything = find_processes(home)
        kill_all(everything)
        return are_gone(everything)

    wait_until(are_all_killed)


def find_processes(home: Path) -> list[psutil.Process]:
    """Return the processes that work in a home, workers of killed code servers among them."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            # A database server of the test inherits the variable.
            is_ours = process.environ().get("MEDASSETS_HOME") == str(home)
            if is_ours and process.name() != "postgres":
                found.append(process)
    return found


def list_runs_of(site: Site, backfill: str) -> list[dg.DagsterRun]:
    """Return the runs of a backfill."""
    return [run for run in site.runs() if run.tags.get("dagster/backfill") == backfill]


def count_backfills_at_work(site: Site) -> int:
    """Return the number of backfills that have not ended."""
    with site.instance() as instance:
        return sum(not one.status.value.startswith("COMPLETED") for one in instance.get_backfills())


def find_code_servers(daemon: psutil.Process) -> list[psutil.Process]:
    """Return the code servers of a daemon."""
    return [p for p in daemon.children() if is_code_server(p)]


def is_code_server(process: psutil.Process) -> bool:
    """Tell whether a process serves the code location; workers are its children."""
    return "grpc" in _command_of(process)


def find_daemons(ui: RunningUi) -> list[psutil.Process]:
    """Return the daemon of a running UI; nothing while it is being started again."""
    return [p for p in ui.descendants() if "medassets.instance.daemon" in _command_of(p)]


def _command_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; nothing if it has ended."""
    with suppress(psutil.Error):
        return process.cmdline()
    return []


def find_workers(site: Site, *statuses: STATUS) -> dict[str, int]:
    """Return the process id that each run has on record, by run id; of started runs by default."""
    found: dict[str, int] = {}
    with site.instance() as instance:
        for run in site.runs(*(statuses or [STATUS.STARTED])):
            for event in instance.all_logs(run.run_id, dg.DagsterEventType.ENGINE_EVENT):
                happened = event.dagster_event
                if happened and "Started process for run" in (happened.message or ""):
                    value = happened.engine_event_data.metadata["pid"].value
                    found[run.run_id] = int(str(value))
    return found


def forge_event_pid(site: Site, run_id: str, *, old: int, new: int) -> None:
    """Give the event that names a run's process another process id, as if the id were reused."""
    path = site.home / "dagster" / "history" / "runs" / f"{run_id}.db"
    with sqlite3.connect(path) as connection:
        changed = connection.execute(
            "UPDATE event_logs SET event = replace(event, ?, ?)",
            (f'"text": "{old}"', f'"text": "{new}"'),
        )
        assert changed.rowcount
        text = "".join(row[0] for row in connection.execute("SELECT event FROM event_logs"))
    assert f'"text": "{new}"' in text


def started_and_waiting(site: Site) -> Callable[[], bool]:
    """Return a function that tells whether two runs are at work and others wait."""

    def is_so() -> bool:
        counted = site.count()
        workers = find_workers(site)
        return counted["STARTED"] == 2 and counted["QUEUED"] > 0 and len(workers) == 2

    return is_so

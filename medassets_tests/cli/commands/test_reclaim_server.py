"""Sources are not deleted from the UI without the word: real webserver, daemon and instance."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from medassets_tests.cli.scans import ASSET, KEYS, Scans
from medassets_tests.cli.test_server import BACKFILL, LAUNCH_BACKFILL, LAUNCH_JOB, SELECTOR

# A dozen runs of a daemon, five seconds each on a machine that does nothing else.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status eventConnection {
  events { __typename ... on StepEvent { stepKey } ... on ExecutionStepFailureEvent {
    error { message } } ... on RunFailureEvent { error { message } } } } } } }"""
PARTITIONS = """query Partitions($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { groupName assetObservations(limit: 50) { partition }
    assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } } } } }"""
ENDED = ("SUCCESS", "FAILURE", "CANCELED", "COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED")


@dataclass(frozen=True)
class Site:
    """The dataset, and the UI that serves it."""

    ui: Any
    scans: Scans

    def launch_job(self, job: str, config: dict[str, Any] | None) -> tuple[str, str]:
        """Launch a job for the first partition; return how it ended, and the first error."""
        params = {
            "selector": {**SELECTOR, "jobName": job},
            "mode": "default",
            "runConfigData": json.dumps(write_config(config)),
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": KEYS[0]}]},
        }
        result = self.ui.ask(LAUNCH_JOB, params=params)["launchPipelineExecution"]
        assert result["__typename"] == "LaunchRunSuccess", result
        run = self.wait(RUN, "runOrError", result["run"]["runId"])
        events = run["eventConnection"]["events"]
        errors = [event["error"]["message"] for event in events if event.get("error")]
        return run["status"], errors[0] if errors else ""

    def launch_backfill(self, config: dict[str, Any] | None) -> tuple[str, set[str]]:
        """Materialize all partitions as the dialog does; return how it ended, and how its runs did."""
        params = {
            "assetSelection": [{"path": list(ASSET.path)}],
            "partitionNames": KEYS,
            "runConfigData": write_config(config),
        }
        (result,) = self.ui.ask(LAUNCH_BACKFILL, params=params).values()
        assert result["__typename"] == "LaunchBackfillSuccess", result
        found = self.wait(BACKFILL, "partitionBackfillOrError", result["backfillId"])
        return found["status"], {run["status"] for run in found["runs"]}

    def wait(self, question: str, name: str, number: str) -> dict[str, Any]:
        """Ask until it has ended."""
        deadline = time.monotonic() + 400
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            found = self.ui.ask(question, id=number)[name]
            if found["status"] in ENDED:
                return found
            time.sleep(0.5)
        raise AssertionError(found)

    def node(self) -> dict[str, Any]:
        """Return what the UI shows of the asset."""
        return self.ui.ask(PARTITIONS, key={"path": list(ASSET.path)})["assetNodeOrError"]


def write_config(config: dict[str, Any] | None) -> dict[str, Any]:
    ops = {} if config is None else {"scans__reclaimed_sources": {"config": config}}
    return {"ops": ops}


@pytest.fixture
def site(running_ui: Callable[..., AbstractContextManager[Any]], scans: Scans) -> Iterator[Site]:
    with running_ui(scans.shell.home) as ui:
        yield Site(ui, scans)


def test_only_the_typed_word_deletes_and_turns_partitions_green(site: Site) -> None:
    assert site.node()["groupName"] == "scans_reclaimed_sources"
    # Dagster calls a backfill failed whose runs materialize nothing.
    assert site.launch_backfill(None) == ("COMPLETED_FAILED", {"SUCCESS"})
    assert site.launch_job("scans_reclaim", None) == ("SUCCESS", "")
    assert site.launch_job("scans_convert", None) == ("SUCCESS", "")
    observed = {one["partition"] for one in site.node()["assetObservations"]}
    assert observed == set(KEYS)
    assert site.launch_backfill({"confirm": "delete"}) == ("COMPLETED_FAILED", {"FAILURE"})
    status, error = site.launch_job("scans_reclaim", {"confirm": "DELETE "})
    assert status == "FAILURE"
    assert "confirm: expected DELETE or nothing, got 'DELETE '" in error
    assert site.node()["assetPartitionStatuses"]["materializedPartitions"] == []
    assert site.scans.nothing_deleted()

    assert site.launch_job("scans_reclaim", {"confirm": "DELETE"}) == ("SUCCESS", "")
    assert site.node()["assetPartitionStatuses"]["materializedPartitions"] == KEYS[:1]
    assert len(site.scans.left) == 3
    assert site.launch_backfill({"confirm": "DELETE"}) == ("COMPLETED_SUCCESS", {"SUCCESS"})
    assert site.node()["assetPartitionStatuses"]["materializedPartitions"] == KEYS
    assert site.scans.left == []
    site.scans.check_volumes()

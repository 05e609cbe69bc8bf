"""A backfill as a user of the UI makes it: real webserver, daemon, code server and instance."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from medassets.shards.catalog.files import read_partition
from medassets.testing.ct_rate import make_ct_rate_repository

pytestmark = pytest.mark.slow

DECLARATION = """
type: medassets.components.VolumeDatasetComponent
attributes:
  name: lungs
  source: folder
  folder: {folder}
  splits: [train]
  hu_rule: none
  target_spacing_mm: [4.0, 4.0, 8.0]
  target_shape: [24, 20, 12]
  samples_per_shard: 2
  max_rejected_share: 0.3
  max_excluded_share: 1.0
  num_workers: 1
"""
SELECTOR = {
    "repositoryLocationName": "medassets",
    "repositoryName": "__repository__",
}
FIRST_KEY = "dagster/asset_partition_range_start"
LAUNCH_JOB = """mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
LAUNCH_BACKFILL = """mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
REEXECUTE = """mutation Again($params: ReexecutionParams!) {
  reexecutePartitionBackfill(reexecutionParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
RUN = """query Run($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"""
BACKFILL = """query Backfill($id: String!) { partitionBackfillOrError(backfillId: $id) {
  ... on PartitionBackfill { status error { message } runs { status tags { key value } } } } }"""
PARTITIONS = """query Partitions($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode {
    partitionKeys
    assetPartitionStatuses { ... on DefaultPartitionStatuses {
      materializedPartitions failedPartitions unmaterializedPartitions } } } } }"""
METADATA = """query Metadata($key: AssetKeyInput!, $partitions: [String!]) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode {
    assetMaterializations(partitions: $partitions, limit: 1) {
      metadataEntries { label ... on IntMetadataEntry { intValue } ... on MarkdownMetadataEntry { mdStr } }
    } } } }"""


@dataclass(frozen=True)
class Site:
    """A served dataset: its UI, its source and its home."""

    ui: Any
    source: Path
    home: Path

    def shard(self, index: int) -> Path:
        """Return a shard's tar."""
        return self.home / "data" / "lungs" / "train" / f"shard-{index:06d}.tar"

    def partitions(self) -> dict[str, list[str]]:
        """Return the keys of the shards, and which of them the UI shows as what."""
        node = self.ui.ask(PARTITIONS, key={"path": ["lungs", "shards"]})["assetNodeOrError"]
        return {"all": node["partitionKeys"], **node["assetPartitionStatuses"]}

    def launch(self, document: str, **params: object) -> str:
        """Launch a backfill and return its id."""
        (result,) = self.ui.ask(document, params=params).values()
        assert result["__typename"] == "LaunchBackfillSuccess", result
        return result["backfillId"]

    def wait_for(self, backfill: str) -> tuple[str, list[str]]:
        """Return how a backfill ended, and the partitions that it ran."""
        deadline = time.monotonic() + 400
        found: dict[str, Any] = {}
        while time.monotonic() < deadline:
            found = self.ui.ask(BACKFILL, id=backfill)["partitionBackfillOrError"]
            if found["status"] in ("COMPLETED_SUCCESS", "COMPLETED_FAILED", "FAILED", "CANCELED"):
                tags = [{tag["key"]: tag["value"] for tag in run["tags"]} for run in found["runs"]]
                return found["status"], sorted(tag[FIRST_KEY] for tag in tags)
            time.sleep(0.5)
        raise AssertionError(found)

    def status_by_command(self) -> dict[str, str]:
        """Return each shard's state as `medassets status` tells it."""
        command = [sys.executable, "-m", "medassets", "status", "lungs", "--json"]
        environment = {**os.environ, "MEDASSETS_HOME": str(self.home)}
        environment["MEDASSETS_DEFS"] = str(self.home.parent / "defs")
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode in (0, 1), done.stderr
        return json.loads(done.stdout)["shards"]


@pytest.fixture
def site(
    running_ui: Callable[..., AbstractContextManager[Any]], home: Path, tmp_path: Path
) -> Iterator[Site]:
    """Serve a dataset of four shards that one YAML file outside the package declares."""
    source = tmp_path / "source"
    make_ct_rate_repository(source, num_patients=3, splits=("train",), special_rows=False)
    declaration = tmp_path / "defs" / "lungs" / "defs.yaml"
    declaration.parent.mkdir(parents=True)
    declaration.write_text(DECLARATION.format(folder=source))
    with running_ui(home, MEDASSETS_DEFS=str(tmp_path / "defs")) as ui:
        yield Site(ui, source, home)


def materialize_catalog(site: Site) -> None:
    """Press Materialize on the catalog, and wait for its run."""
    params = {"selector": {**SELECTOR, "jobName": "lungs_catalog"}, "mode": "default"}
    result = site.ui.ask(LAUNCH_JOB, params=params)["launchPipelineExecution"]
    assert result["__typename"] == "LaunchRunSuccess", result
    deadline = time.monotonic() + 400
    while (
        status := site.ui.ask(RUN, id=result["run"]["runId"])["runOrError"]["status"]
    ) != "SUCCESS":
        assert time.monotonic() < deadline, status
        assert status not in ("FAILURE", "CANCELED")
        time.sleep(0.3)


def only(*names: str) -> dict[str, object]:
    return {"assetSelection": [{"path": ["lungs", "shards"]}], "partitionNames": list(names)}


def test_a_backfill_and_then_only_what_is_missing_failed_or_lost(site: Site) -> None:
    materialize_catalog(site)
    keys = site.partitions()["all"]
    assert keys == [f"train-{index:06d}" for index in range(4)]

    # The second shard cannot be made: its files are gone. The fourth is not asked for.
    files = volumes_of(site, keys[1])
    for path in files:
        path.rename(path.with_suffix(".away"))
    first = site.launch(LAUNCH_BACKFILL, **only(*keys[:3]))
    assert site.wait_for(first) == ("COMPLETED_FAILED", keys[:3])
    shown = site.partitions()
    assert shown["materializedPartitions"] == [keys[0], keys[2]]
    assert shown["failedPartitions"] == [keys[1]]
    assert not site.shard(1).exists()
    assert labels_of(site, keys[0]) >= {"dagster/row_count", "medassets/preview"}

    # The files come back; a whole shard is lost behind Dagster's back.
    for path in files:
        path.with_suffix(".away").rename(path)
    before = {index: site.shard(index).read_bytes() for index in (0, 2)}
    untouched = site.shard(2).stat()
    site.shard(0).unlink()
    states = site.status_by_command()
    assert states == dict(zip(keys, ["lost", "failed", "done", "missing"], strict=True))

    again = site.launch(REEXECUTE, parentRunId=first, strategy="FROM_FAILURE")
    missing = [key for key, state in states.items() if state in ("missing", "lost")]
    rest = site.launch(LAUNCH_BACKFILL, **only(*missing))
    assert site.wait_for(again) == ("COMPLETED_SUCCESS", [keys[1]])
    assert site.wait_for(rest) == ("COMPLETED_SUCCESS", [keys[0], keys[3]])

    shown = site.partitions()
    assert shown["materializedPartitions"] == keys
    assert (shown["failedPartitions"], shown["unmaterializedPartitions"]) == ([], [])
    assert site.shard(0).read_bytes() == before[0]
    now = site.shard(2).stat()
    assert (now.st_ino, now.st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)
    assert set(site.status_by_command().values()) == {"done"}


def volumes_of(site: Site, key: str) -> list[Path]:
    """Return the source files of a shard."""
    items = read_partition(site.home / "data" / "lungs" / "catalog.parquet", key)
    return [site.source / item.path for item in items]


def labels_of(site: Site, key: str) -> set[str]:
    answer = site.ui.ask(METADATA, key={"path": ["lungs", "shards"]}, partitions=[key])
    (event,) = answer["assetNodeOrError"]["assetMaterializations"]
    return {entry["label"] for entry in event["metadataEntries"]}

"""The Dagster home of a large dataset is deleted: everything it knew is on disk."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.main import run
from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.npz_source import write_declaration
from medassets_tests.running_ui import run_ui

NUM_SHARDS, NUM_MADE = 2000, 1000
PARTITIONS = """query Partitions($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions } } } } }"""
SENSOR = """query Sensor($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { status } } } }"""
SELECTOR = {"repositoryLocationName": "medassets", "repositoryName": "__repository__"}


@pytest.fixture
def half_made(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A dataset of 2,000 shards of one tiny sample each, half of them made; no Dagster home."""
    tree = make_npz_tree(tmp_path / "tree", num_volumes=NUM_SHARDS, shape=(5, 7, 11))
    fields = {**tree.fields(), "samples_per_shard": 1, "num_workers": 1, "automation": "on"}
    write_declaration(tmp_path / "declared", {"name": "tiny", **fields})
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    workspace = Session().workspace("tiny")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    for key in list(workspace.read_plan().partitions)[:NUM_MADE]:
        build_shard(workspace, workspace.paths, plan_shard(workspace, key))
    return home


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_deleted_home_of_2000_shards_is_restored_in_a_minute_and_nothing_is_computed(
    half_made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("medassets.shards.writer._Maker.make", refuse)
    tars = {p: p.stat().st_mtime_ns for p in (half_made / "data/tiny/train").glob("*.tar")}
    assert len(tars) == NUM_MADE
    start = time.monotonic()
    assert run(["reconcile", "tiny"]) == 0, capsys.readouterr().err
    assert time.monotonic() - start < 60
    assert {p: p.stat().st_mtime_ns for p in tars} == tars
    with run_ui(half_made, "--no-daemon") as ui:
        found: Any = ui.ask(PARTITIONS, key={"path": ["tiny", "shards"]})["assetNodeOrError"]
        assert len(found["partitionKeys"]) == NUM_SHARDS
        assert len(found["assetPartitionStatuses"]["materializedPartitions"]) == NUM_MADE
        selector = {**SELECTOR, "sensorName": "tiny_automation"}
        sensor: Any = ui.ask(SENSOR, selector=selector)["sensorOrError"]
        assert sensor["sensorState"]["status"] == "RUNNING"


@pytest.mark.slow
def test_a_server_on_a_new_home_knows_the_partitions_at_once(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, declare_tiny: Callable[..., None]
) -> None:
    declare_tiny()
    workspace = Session().workspace("tiny")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    with run_ui(home, "--no-daemon") as ui:
        found: Any = ui.ask(PARTITIONS, key={"path": ["tiny", "shards"]})["assetNodeOrError"]
    assert found["partitionKeys"] == list(workspace.read_plan().partitions)
    assert "3 partitions were unknown to this home" in (tmp_path / "ui.log").read_text()
    assert run(["build", "tiny", "--no-refresh"]) == 0


@pytest.fixture
def declare_tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that declares a dataset of three shards."""

    def declare() -> None:
        tree = make_npz_tree(tmp_path / "tree", num_volumes=3, shape=(5, 7, 11))
        fields = {**tree.fields(), "samples_per_shard": 1, "num_workers": 1}
        write_declaration(tmp_path / "declared", {"name": "tiny", **fields})
        monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))

    return declare

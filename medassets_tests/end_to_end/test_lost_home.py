"""The Dagster home of a large dataset is deleted: everything it knew is on disk."""

import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.main import run
from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.end_to_end.conftest import Home
from medassets_tests.npz_source import write_declaration
from medassets_tests.running_ui import run_ui

NUM_SHARDS, NUM_MADE = 2000, 1000
# The full size is 2000 and 10.
KILLED_SHARDS = int(os.environ.get("MEDASSETS_TEST_LOST_SHARDS", "60"))
KILLS = int(os.environ.get("MEDASSETS_TEST_KILLS", "3"))
SEED = 20261130
EVENTS = """SELECT partition, COUNT(*) FROM event_logs WHERE asset_key = '["tiny", "shards"]'
  AND dagster_event_type = 'ASSET_MATERIALIZATION' GROUP BY partition"""
PARTITIONS = """query Partitions($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) {
  ... on AssetNode { partitionKeys assetPartitionStatuses { ... on DefaultPartitionStatuses {
    materializedPartitions failedPartitions } } } } }"""
SENSOR = """query Sensor($selector: SensorSelector!) { sensorOrError(sensorSelector: $selector) {
  ... on Sensor { sensorState { status } } } }"""
SELECTOR = {"repositoryLocationName": "medassets", "repositoryName": "__repository__"}


@pytest.fixture
def make_half(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int, int], Path]:
    """Return a function that makes some shards of one tiny sample each, and no Dagster home."""

    def make(num_shards: int, num_made: int) -> Path:
        tree = make_npz_tree(tmp_path / "tree", num_volumes=num_shards, shape=(5, 7, 11))
        fields = {**tree.fields(), "samples_per_shard": 1, "num_workers": 1, "automation": "on"}
        write_declaration(tmp_path / "declared", {"name": "tiny", **fields})
        monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
        workspace = Session().workspace("tiny")
        publish_catalog(workspace.paths, draft_catalog(workspace))
        for key in list(workspace.read_plan().partitions)[:num_made]:
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))
        return home

    return make


def check_ui(home: Path, num_shards: int, num_made: int) -> None:
    """Check that the UI lists every shard, and that automation is on."""
    with run_ui(home, "--no-daemon") as ui:
        found: Any = ui.ask(PARTITIONS, key={"path": ["tiny", "shards"]})["assetNodeOrError"]
        assert len(found["partitionKeys"]) == num_shards
        assert len(found["assetPartitionStatuses"]["materializedPartitions"]) == num_made
        selector = {**SELECTOR, "sensorName": "tiny_automation"}
        sensor: Any = ui.ask(SENSOR, selector=selector)["sensorOrError"]
        assert sensor["sensorState"]["status"] == "RUNNING"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_deleted_home_of_2000_shards_is_restored_in_a_minute_and_nothing_is_computed(
    make_half: Callable[[int, int], Path],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = make_half(NUM_SHARDS, NUM_MADE)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("medassets.shards.writer._Maker.make", refuse)
    tars = {p: p.stat().st_mtime_ns for p in (home / "data/tiny/train").glob("*.tar")}
    assert len(tars) == NUM_MADE
    start = time.monotonic()
    assert run(["reconcile", "tiny"]) == 0, capsys.readouterr().err
    assert time.monotonic() - start < 60
    assert {p: p.stat().st_mtime_ns for p in tars} == tars
    check_ui(home, NUM_SHARDS, NUM_MADE)


def count_events(home: Path) -> Counter[str]:
    """Return how often each shard was reported to Dagster."""
    index = home / "dagster/history/runs/index.db"
    if not index.exists():
        return Counter()
    with closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True)) as database:
        tables = database.execute("SELECT name FROM sqlite_master").fetchall()
        return Counter(dict(database.execute(EVENTS))) if ("event_logs",) in tables else Counter()


def leave_litter(folder: Path) -> list[Path]:
    """Leave what killed builds and writers leave beside a whole shard."""
    record = folder / "train/shard-000001.json"
    names = ("shard-000001.previous", "shard-000001.tar.partial", "shard-000001.ledger")
    litter = [record.with_name(f".{name}") for name in names]
    litter.append(record.with_name(".manifest.json.0123456789abcdef.tmp"))
    for path in litter:
        shutil.copy(record, path)
    return litter


def list_shards(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return what changes when a tar or record is written."""
    stats = {path: path.stat() for path in folder.glob("*/shard-*")}
    return {path: (s.st_ino, s.st_size, s.st_mtime_ns) for path, s in stats.items()}


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_reconcile_killed_at_any_instant_computes_nothing_and_reports_nothing_twice(
    tmp_path: Path, make_half: Callable[[int, int], Path], fork_server: Any
) -> None:
    num_made = KILLED_SHARDS // 2
    folder = make_half(KILLED_SHARDS, num_made)
    home, log, instants = Home(folder), tmp_path / "encoded", random.Random(SEED)
    warm = fork_server.run(home, "reconcile", "tiny", warm=tmp_path / "modules")
    assert warm.code == 0, warm.text
    shards = list_shards(home.paths.folder)

    def lose_home() -> list[Path]:
        shutil.rmtree(folder / "dagster")
        return leave_litter(home.paths.folder)

    def finish(litter: list[Path], where: str) -> Any:
        ended = fork_server.run(home, "reconcile", "tiny", encode_log=log)
        assert ended.code == 0, (where, ended.text)
        assert count_events(folder) == dict.fromkeys(home.records(), 1), where
        assert not [path for path in litter if path.exists()], where
        return ended

    undisturbed = finish(lose_home(), "undisturbed")
    reported = []
    for number in range(KILLS):
        litter, after_s = lose_home(), instants.uniform(0, undisturbed.seconds)
        where = f"{SEED = }, kill {number} after {after_s:.3f} of {undisturbed.seconds:.3f} s"
        fork_server.kill(home, "reconcile", "tiny", after_s=after_s, encode_log=log)
        events = count_events(folder)
        reported.append(len(events))
        assert max(events.values(), default=0) <= 1, where
        finish(litter, where)
        assert list_shards(home.paths.folder) == shards, where
        assert log.read_bytes() == b"", where
    assert min(reported) < num_made, reported
    check_ui(folder, KILLED_SHARDS, num_made)


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

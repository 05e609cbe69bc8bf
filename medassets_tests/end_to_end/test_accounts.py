"""Every source item of every kind of dataset has one state, and all faces say the same.

The numbers are counted again here, from the Parquet file and the JSON records alone.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from medassets.cli.main import run
from medassets.datasets.accounts import iter_items, take_account_of, take_accounts
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.manifests.publication import build_manifests
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.registry import list_build_stages, open_kind
from medassets.datasets.verify import find_catalog_problems
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import MedassetsError
from medassets.shards.account import ItemState, join_accounts
from medassets.storage.paths import DatasetPaths
from medassets.testing.clip4mc import SyntheticVideos, make_clip4mc_folder
from medassets_tests.account_cases import CASES, Case, make_case

pytestmark = pytest.mark.slow  # whole builds

STATES = ("done", "rejected", "excluded", "held", "left")


@pytest.fixture(scope="session")
def short_films(tmp_path_factory: pytest.TempPathFactory) -> SyntheticVideos:
    """Three short films; read only."""
    return make_clip4mc_folder(tmp_path_factory.mktemp("short"), num_videos=3, num_frames=60)


def count_again(paths: DatasetPaths) -> dict[str, int]:
    """Count the states of all items from catalog and records, by no code of the package."""
    rows = pq.read_table(paths.catalog).to_pylist()
    counts = Counter(row["state"] for row in rows)
    found = {"items": len(rows), "excluded": counts["excluded"], "held": counts["held"]}
    documents = [
        json.loads(path.read_bytes())
        for path in paths.folder.glob(
            "*/shard-*.json" if paths.stage == "shards" else f"{paths.stage}/*/shard-*.json"
        )
    ]
    found["done"] = sum(len(document["samples"]) for document in documents)
    found["rejected"] = sum(len(document["rejected"]) for document in documents)
    planned = Counter(row["partition"] for row in rows if row["state"] == "planned")
    for document in documents:
        del planned[document["partition"]]
    found["left"] = planned.total()
    return found


def check_sum(account: Mapping[str, Any], expected: Mapping[str, int]) -> None:
    """Fail unless the numbers of an account add up and are the expected ones."""
    assert {name: account[name] for name in ("items", *STATES)} == expected
    assert account["items"] == sum(account[state] for state in STATES)
    for state, reasons in account["reasons"].items():
        assert sum(reasons.values()) == account[state]
        assert {item["reason"] for item in account["first"] if item["state"] == state} <= {*reasons}


def check_all(workspace: Workspace) -> dict[str, int]:
    """Fail unless account, lists, shards, manifests and checks say what catalog and records do."""
    expected = count_again(workspace.paths)
    account = join_accounts(take_accounts(workspace).values())
    check_sum(account.as_dict(), expected)
    assert find_catalog_problems(workspace) == []
    for state in STATES:
        items = [*iter_items(workspace, ItemState(state))]
        assert len({item.key for item in items}) == len(items) == expected[state]
    shards = take_account_of(workspace, workspace.read_plan().partitions)
    assert (shards.done, shards.num_rejected, shards.num_left) == (
        expected["done"],
        expected["rejected"],
        expected["left"],
    )
    manifests = build_manifests(workspace).values()
    for name in ("items", *STATES):
        assert sum(manifest["account"][name] for manifest in manifests) == expected[name]
    assert sum(manifest["total_samples"] for manifest in manifests) == expected["done"]
    return expected


def refresh(case: Case, stage: str = "", **options: Any) -> Workspace:
    """Open a case and refresh its catalog."""
    workspace = open_workspace(open_kind(case.declare(), stage))
    publish_catalog(workspace.paths, draft_catalog(workspace, **options))
    return workspace


def make_all(workspace: Workspace) -> int:
    """Make all shards; return how many failed."""
    num_failed = 0
    for key in workspace.read_plan().partitions:
        num_failed += 1
        with suppress(MedassetsError):
            build_shard(workspace, workspace.paths, plan_shard(workspace, key))
            num_failed -= 1
    return num_failed


@pytest.mark.parametrize("kind", CASES)
def test_all_items_of_a_healthy_dataset_are_accounted_for(
    tmp_path: Path, kind: str, short_films: SyntheticVideos
) -> None:
    case = make_case(kind, tmp_path, films=short_films)
    limited = refresh(case, limit=3)
    assert check_all(limited)["held"] > 0
    workspace = refresh(case)
    assert check_all(workspace)["left"] > 0
    assert make_all(workspace) == 0
    told = check_all(workspace)
    assert (told["left"], told["held"]) == (0, 0)
    assert told["done"] > 0


@pytest.mark.parametrize("kind", CASES)
def test_all_items_of_a_damaged_dataset_are_accounted_for(
    tmp_path: Path, kind: str, short_films: SyntheticVideos
) -> None:
    case = make_case(kind, tmp_path, films=short_films)
    case.damage()
    for stage in list_build_stages(case.declare()):
        workspace = refresh(case, stage)
        make_all(workspace)
        told = check_all(workspace)
        assert told["rejected"] + told["left"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_command_manifest_and_metadata_say_the_same(
    tmp_path: Path,
    kind: str,
    short_films: SyntheticVideos,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    case = make_case(kind, tmp_path, films=short_films)
    case.damage()
    name = case.fields["name"]
    document = {"type": f"medassets.components.{case.component}", "attributes": case.fields}
    (tmp_path / "declared" / name).mkdir(parents=True)
    (tmp_path / "declared" / name / "defs.yaml").write_text(yaml.safe_dump(document))
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))

    def tell(*arguments: str) -> str:
        capsys.readouterr()
        run([*arguments])
        return capsys.readouterr().out

    def call(*arguments: str) -> dict[str, Any]:
        return json.loads(tell(*arguments, "--json"))

    planned, built = call("plan", name), call("build", name)
    status, verified = call("status", name), call("verify", name)
    workspace = open_workspace(open_kind(case.declare()))
    expected = check_all(workspace)
    for told in (built, status, verified):
        check_sum(told["account"], expected)
    for stage, one in status["stages"].items():
        paths = open_workspace(open_kind(case.declare(), stage)).paths
        check_sum(one["account"], count_again(paths))
        check_sum(built["accounts"][stage], count_again(paths))
        check_sum(verified["stages"][stage]["account"], count_again(paths))
    assert planned["account"]["items"] == expected["items"]
    assert planned["account"]["excluded"] == expected["excluded"]
    first = tell("status", name).splitlines()[0]
    assert f"{expected['items']:,} source items = {expected['done']:,} done" in first
    written = [
        json.loads(path.read_bytes()) for path in workspace.paths.folder.rglob("manifest.json")
    ]
    for key in ("items", *STATES):
        assert sum(one["account"][key] for one in written) == expected[key]
    listed = call("status", name, "--stage", status["stage"], "--list", "rejected")["listed"]
    assert len({item["key"] for item in listed}) == expected["rejected"]
    check_metadata(name, expected)


def check_metadata(name: str, expected: Mapping[str, int]) -> None:
    """Fail unless Dagster shows the same account of the catalog's rows and checks."""
    import dagster as dg

    from medassets.cli.session import Session

    session = Session()
    key = dg.AssetKey([name, "catalog"])
    wanted = dg.AssetRecordsFilter(asset_key=key)
    with session.instance as instance:
        (record, *_) = instance.fetch_materializations(wanted, limit=1).records
        assert record.asset_materialization is not None
        account: Any = record.asset_materialization.metadata["medassets/account"].value
        assert account["items"] == expected["items"]
        assert account["excluded"] == expected["excluded"]
        check = dg.AssetCheckKey(key, "every_row_has_a_place")
        storage = instance.event_log_storage
        (checked, *_) = storage.get_asset_check_execution_history(check, 1)
        assert checked.event is not None
        assert checked.event.dagster_event is not None
        evaluation: Any = checked.event.dagster_event.event_specific_data
        assert evaluation.passed
        assert evaluation.metadata["medassets/account"].value["items"] == expected["items"]

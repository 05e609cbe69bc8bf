"""How a build goes through its shards: what fails, what ends it, what is recorded."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.samples import EncodedSample, SourceItem
from medassets.shards.catalog.files import read_partition
from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets.volumes import samples
from medassets_tests.cli.building import digests
from medassets_tests.cli.slow_build import SLOW, wait_for

pytestmark = pytest.mark.slow

BUILD = SLOW.replace("sys.exit(run(sys.argv[1:]))", "from medassets.cli.main import main; main()")
"""The same with the handlers of signals of the command."""

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


@pytest.fixture
def broken_shard(tmp_path: Path, declare: Declare) -> Callable[[], int]:
    """Declare `sick`, of whose two shards one cannot be made; return what heals it."""
    repository = make_ct_rate_repository(
        tmp_path / "sick", num_patients=1, splits=("train",), special_rows=False
    )
    declare(
        "sick",
        source="folder",
        folder=str(repository.folder),
        splits=["train"],
        samples_per_shard=1,
        max_rejected_share=0.0,
    )
    file = repository.folder / repository.volumes[0].path
    whole = file.read_bytes()
    file.write_bytes(whole[:1000])
    return lambda: file.write_bytes(whole)


def test_a_shard_that_fails_is_named_and_retried_alone(
    medassets: Medassets, broken_shard: Callable[[], int]
) -> None:
    failed = medassets("build", "sick")
    assert failed.code == 1
    assert failed.out.splitlines()[1].startswith("sick: 1 shard built (1 sample, ")
    assert ", 1 failed, in " in failed.out
    assert "more than max_rejected_share = 0.0 allows" in failed.err
    last = failed.err.splitlines()[-1]
    assert last == "failed: train-000000; `medassets retry sick` tries them again"
    assert "Traceback" not in failed.err

    status = medassets("status", "sick")
    assert status.code == 1
    assert "failed (the last try failed" in status.out
    assert medassets("status", "sick", "--json").document["shards"] == {
        "train-000000": "failed",
        "train-000001": "done",
    }
    assert medassets("build", "sick", "--missing", "--json").document["built"] == []
    again = medassets("retry", "sick", "--json")
    assert again.code == 1
    assert list(again.document["failed"]) == ["train-000000"]

    broken_shard()
    healed = medassets("retry", "sick", "--json")
    assert healed.code == 0
    assert healed.document["built"] == ["train-000000"]
    assert medassets("status", "sick").code == 0


def test_shards_of_another_instance_are_recorded_without_computing(
    medassets: Medassets, built: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = digests(built)
    times = {path: path.stat().st_mtime_ns for path in built.rglob("*.tar")}
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "another"))
    status = medassets("status", "lungs")
    assert status.code == 0
    assert "orphaned (on disk and whole, unknown to Dagster; " in status.out
    assert "`medassets reconcile` records them): train-000000, " in status.out
    ran = medassets("build", "lungs")
    assert ran.out.splitlines()[1].startswith(
        "lungs: 0 shards built, 4 recorded without computing, 0 kept, in"
    )
    assert digests(built) == before
    assert {path: path.stat().st_mtime_ns for path in built.rglob("*.tar")} == times
    assert set(medassets("status", "lungs", "--json").document["shards"].values()) == {"done"}


def test_a_remote_dataset_is_built_and_its_source_may_then_go(
    medassets: Medassets, hub_dataset: LocalHub, repository: SyntheticRepository
) -> None:
    ran = medassets("build", "remote", "--split", "valid", "--json")
    assert ran.code == 0
    assert ran.document["num_samples"] == len(repository.keys("valid"))
    hub_dataset.close()
    again = medassets("build", "remote", "--split", "valid", "--no-refresh", "--json")
    assert (again.code, again.document["kept"]) == (0, 2)


def test_a_source_that_refuses_connections_ends_in_seconds_with_exit_code_3(
    medassets: Medassets, hub_dataset: LocalHub
) -> None:
    hub_dataset.close()
    start = time.monotonic()
    ran = medassets("build", "remote")
    assert ran.code == 3
    assert time.monotonic() - start < 30
    assert "given up after 3 failures in a row" in ran.err
    assert "remote: nothing built, the catalog could not be refreshed" in ran.out
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(("gated", "words"), [(True, "is gated"), (False, "does not exist at")])
def test_a_source_that_refuses_access_names_its_page_and_the_token(
    medassets: Medassets,
    declare: Declare,
    repository: SyntheticRepository,
    *,
    gated: bool,
    words: str,
) -> None:
    with LocalHub(repository.folder, "org/ct", token="right", gated=gated) as hub:
        declare("closed", repo_id="org/ct" if gated else "org/other", endpoint=hub.endpoint)
        ran = medassets("build", "closed")
    assert ran.code == 3
    assert words in ran.err
    assert ("org/ct" if gated else "org/other") in ran.err
    assert "HF_TOKEN" in ran.err
    assert "Traceback" not in ran.err


def test_access_refused_in_the_middle_stops_the_build(
    medassets: Medassets, hub_dataset: LocalHub
) -> None:
    hub_dataset.fail("gated", "*.nii.gz", times=1000)
    ran = medassets("build", "remote")
    assert ran.code == 3
    assert "stopped here: the other shards would fail for the same reason" in ran.err
    assert ran.out.splitlines()[1].startswith("remote: 0 shards built, 0 kept, 1 failed, in")
    assert f"{hub_dataset.endpoint}/datasets/org/ct" in ran.err
    assert "HF_TOKEN" in ran.err


def test_a_disk_that_is_too_small_gives_exit_code_4(
    medassets: Medassets, lungs: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.storage.disk.free_bytes", lambda _: 1000)
    ran = medassets("build", "lungs")
    assert ran.code == 4
    assert "1,000" in ran.err or "1000" in ran.err
    assert ", 1 failed, in" in ran.out


def test_an_unexpected_error_shows_its_traceback(
    medassets: Medassets, lungs: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_: Any, **__: Any) -> None:
        msg = "nobody foresaw this"
        raise ZeroDivisionError(msg)

    monkeypatch.setattr("medassets.volumes.samples.encode_volume_sample", explode)
    ran = medassets("build", "lungs", "--limit", "1")
    assert ran.code == 1
    assert "ZeroDivisionError: nobody foresaw this" in ran.err
    assert "in explode" in ran.err


def test_an_interrupted_build_says_so_and_the_next_one_goes_on(
    lungs: Declare, home: Path, built_home: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "build", "lungs", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    data = home / "data" / "lungs"
    ledger = data / "train" / ".shard-000001.ledger"
    wait_for(lambda: ledger.exists() and ledger.stat().st_size > 200, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "interrupted after 1 shard; `medassets build lungs` continues after the last whole sample"
    )
    document = json.loads(out)
    assert document["interrupted"] is True
    assert document["built"] == ["train-000000"]
    assert document["failed"] == {}
    assert not (data / "train/shard-000001.tar").exists()
    assert ledger.exists()

    again = subprocess.run(
        [sys.executable, "-m", "medassets", "build", "lungs", "--json"],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    assert json.loads(again.stdout)["kept"] == 1
    assert digests(data) == digests(built_home / "data" / "lungs")
    left = [path for path in data.rglob(".*") if path.is_file()]
    assert [path for path in left if not path.name.endswith(".made.jsonl")] == []


def read_paths(home: Path, key: str) -> set[str]:
    return {item.path for item in read_partition(home / "data/remote/catalog.parquet", key)}


def test_files_of_the_next_shard_are_fetched_while_one_is_computed(
    medassets: Medassets, hub_dataset: LocalHub, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = "train-000000", "train-000001"
    encode = samples.encode_volume_sample

    def wait_and_encode(item: SourceItem, *arguments: Any, **more: Any) -> EncodedSample:
        if item.path in read_paths(home, first):
            asked = {one.path for one in hub_dataset.requests("body")}
            missing = read_paths(home, second) - asked
            while missing:
                time.sleep(0.02)
                missing -= {str(one.path) for one in hub_dataset.requests("body")}
        return encode(item, *arguments, **more)

    monkeypatch.setattr(samples, "encode_volume_sample", wait_and_encode)
    ran = medassets("build", "remote", "--split", "train", "--json")
    assert ran.code == 0
    assert ran.document["built"] == [first, second]
    volumes = [one for one in hub_dataset.sent_bytes().items() if one[0].endswith(".nii.gz")]
    assert ran.document["fetched_bytes"] == sum(num_bytes for _, num_bytes in volumes)
    asked = [one.path for one in hub_dataset.requests("body")]
    assert len(asked) == len(set(asked))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_build_that_is_interrupted_while_it_fetches_ahead_ends_at_once(
    medassets: Medassets, hub_dataset: LocalHub, home: Path, number: signal.Signals
) -> None:
    assert medassets("build", "remote", "--limit", "8", "--partitions", "train-000000").code == 0
    last = read_paths(home, "train-000001")
    for path in last:
        # The whole of it would take longer than a test may.
        hub_dataset.fail("slow", path, times=None, bytes_per_s=40)
    command = [sys.executable, "-c", BUILD, "build", "remote", "--split", "train", "--force"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: last & hub_dataset.sent_bytes().keys(), process)
    process.send_signal(number)
    _, err = process.communicate(timeout=200)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err.splitlines()[-1]

    hub_dataset.heal()
    hub_dataset.forget_requests()
    assert medassets("build", "remote", "--split", "train").code == 0
    assert any(one.range_start for one in hub_dataset.requests("body"))
    assert not [path for path in (home / "staging").rglob("*") if path.is_file()]

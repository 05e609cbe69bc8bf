"""`medassets build` and `retry`: what is made, what is kept, and what is said of it."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.bad_volumes import BAD_VOLUMES, pick_bad_volumes

Medassets = Callable[..., Any]
Declare = Callable[..., Path]

ALL = [f"{split}-00000{i}" for split in ("train", "valid") for i in range(2)]


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


def test_a_build_makes_shards_and_manifest_and_tells_what_it_did(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    ran = medassets("build", "lungs")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("lungs: 4 shards built (14 samples, ")
    assert " 0 kept, in 0:00:" in lines[0]
    left_out = "4 samples (no_chest 2, spacing_missing 2)"
    assert lines[1:] == [f"  excluded, see catalog.parquet: {left_out}"]
    folder = home / "data" / "lungs"
    assert sorted(p.parent.name + "-" + p.stem[6:] for p in folder.rglob("*.tar")) == ALL
    assert json.loads((folder / "train" / "manifest.json").read_text())["total_samples"] == 7
    progress = ran.err.splitlines()
    assert progress[0] == "lungs: 4 of 14 samples  train-000000 built"
    assert len(progress) == 4


def test_a_second_build_keeps_everything_as_one_json_document(
    medassets: Medassets, built: Path
) -> None:
    before = digests(built)
    ran = medassets("build", "lungs", "--json")
    assert ran.code == 0
    assert ran.err == ""
    document = ran.document
    assert document.pop("seconds") > 0
    assert document == {
        "dataset": "lungs",
        "stages": ["shards"],
        "built": [],
        "recorded": [],
        "failed": {},
        "kept": 4,
        "left": 0,
        "held": 0,
        "excluded": {"no_chest": 2, "spacing_missing": 2},
        "table_problems": {"count": 0, "first": []},
        "num_samples": 0,
        "rejected": {},
        "num_bytes": 0,
        "interrupted": False,
    }
    assert digests(built) == before


def test_a_split_alone_is_built_and_what_is_left_is_told(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    ran = medassets("build", "lungs", "--split", "valid")
    assert ran.code == 0
    assert ran.out.startswith("lungs: 2 shards built (7 samples")
    assert "not asked for and still to be made: 2 shards" in ran.out
    assert not list((home / "data/lungs").glob("train/*.tar"))


def test_a_trial_holds_the_rest_and_a_later_build_goes_on(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    first = medassets("build", "lungs", "--limit", "5", "--json").document
    assert (first["built"], first["num_samples"], first["held"]) == (ALL[:2], 5, 9)
    kept = (home / "data/lungs/train/shard-000000.tar").stat().st_mtime_ns
    assert "held for a build without --limit: 9 samples" in medassets("status", "lungs").out
    rest = medassets("build", "lungs", "--json").document
    # The short last shard of the trial is filled up; the full one is not touched.
    assert (rest["built"], rest["kept"], rest["held"]) == (ALL[1:], 1, 0)
    assert (home / "data/lungs/train/shard-000000.tar").stat().st_mtime_ns == kept


def test_a_trial_of_one_split_takes_samples_of_that_split(
    medassets: Medassets, lungs: Declare
) -> None:
    first = medassets("build", "lungs", "--split", "valid", "--limit", "2", "--json").document
    assert (first["built"], first["num_samples"], first["held"]) == (["valid-000000"], 2, 12)
    again = medassets("build", "lungs", "--split", "train", "--limit", "3", "--json").document
    assert (again["built"], again["num_samples"]) == (["train-000000"], 3)


def test_a_limit_on_a_larger_plan_builds_its_first_shards_only(
    medassets: Medassets, built: Path
) -> None:
    for path in built.rglob("*.tar"):
        path.unlink()
    document = medassets("build", "lungs", "--limit", "4", "--json").document
    assert (document["built"], document["left"]) == (ALL[:1], 3)


def test_the_shard_size_can_be_chosen_before_the_first_plan_only(
    medassets: Medassets, lungs: Declare
) -> None:
    trial = medassets("build", "lungs", "--limit", "4", "--samples-per-shard", "2", "--json")
    assert trial.document["built"] == ALL[:2]
    assert trial.document["num_samples"] == 4
    for command in ("build", "plan"):
        ran = medassets(command, "lungs", "--samples-per-shard", "3")
        assert ran.code == 2
        assert ran.err.startswith("medassets: --samples-per-shard: the plan of lungs was made ")
        assert "with 2, got 3" in ran.err
    assert medassets("build", "lungs", "--limit", "4", "--samples-per-shard", "2").code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid-000001", ["valid-000001"]),
        ("valid-000001, train-000000..train-000001", [*ALL[:2], "valid-000001"]),
        ("train-000001..train-000009", ALL[1:2]),
    ],
)
def test_partitions_are_keys_and_ranges(
    medassets: Medassets, built: Path, text: str, expected: list[str]
) -> None:
    for path in built.rglob("*.tar"):
        path.unlink()
    document = medassets("build", "lungs", "--partitions", text, "--no-refresh", "--json").document
    assert document["built"] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--partitions", "train-1"], "--partitions: 'train-1': partition key: expected"),
        (["--partitions", "train-000007"], "names no shard of the plan (train-000000 to valid-"),
        (["--partitions", "train-000000..valid-000001"], "a range goes upwards inside one split"),
        (["--partitions", "train-000001..train-000000"], "a range goes upwards inside one split"),
        (["--partitions", "train-000001.."], "--partitions: 'train-000001..'"),
        (["--partitions", ""], "--partitions: expected keys or ranges"),
        (["--split", "test"], "--split: lungs has no split 'test'; it has train, valid"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--num-workers", "-1"], "Invalid value for '--num-workers'"),
        (["--frobnicate"], "No such option"),
    ],
)
def test_wrong_use_is_told_at_once_with_exit_code_2(
    medassets: Medassets, built: Path, arguments: list[str], words: str
) -> None:
    ran = medassets("build", "lungs", *arguments)
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""
    as_json = medassets("build", "lungs", "--json", *arguments)
    assert as_json.code == as_json.document["exit_code"] == 2
    assert words in as_json.document["error"]


def test_an_unknown_dataset_is_told_with_those_that_are_known(
    medassets: Medassets, lungs: Declare
) -> None:
    for command in ("plan", "build", "status", "retry", "verify"):
        ran = medassets(command, "lung")
        assert ran.code == 2
        known = "clip4mc, ct_rate, demo_ct, demo_video, demo_windows, lungs"
        assert f"'lung' is not declared; declared: {known}" in ran.err


def test_without_a_catalog_no_refresh_says_what_to_do(medassets: Medassets, lungs: Declare) -> None:
    for arguments in (("build", "lungs", "--no-refresh"), ("retry", "lungs"), ("verify", "lungs")):
        ran = medassets(*arguments)
        assert ran.code == 1
        assert "there is no catalog yet; `medassets build lungs` makes it" in ran.err


def test_missing_failed_and_force_choose_by_state(medassets: Medassets, built: Path) -> None:
    before = digests(built)
    (built / "valid/shard-000001.tar").unlink()
    assert medassets("build", "lungs", "--failed", "--json").document["built"] == ["valid-000001"]
    for path in built.glob("valid/shard-000001.*"):
        path.unlink()
    assert medassets("build", "lungs", "--missing", "--json").document["built"] == ["valid-000001"]
    one = ("--partitions", "train-000001", "--force")
    assert medassets("build", "lungs", *one, "--json").document["built"] == ["train-000001"]
    assert digests(built) == before


def test_the_number_of_workers_changes_no_byte(
    medassets: Medassets, lungs: Declare, home: Path, built_home: Path
) -> None:
    assert medassets("build", "lungs", "--num-workers", "3").code == 0
    assert digests(home / "data") == digests(built_home / "data")


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
    assert failed.out.startswith("sick: 1 shard built (1 sample, ")
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


def test_rejected_samples_are_counted_by_reason(
    medassets: Medassets, tmp_path: Path, declare: Declare
) -> None:
    faults = sorted(name for name, bad in BAD_VOLUMES.items() if bad.reason)[:2]
    repository = make_ct_rate_repository(
        tmp_path / "some",
        num_patients=1,
        splits=("train",),
        special_volumes=pick_bad_volumes(*faults),
    )
    changes = {"splits": ["train"], "max_rejected_share": 1.0, "samples_per_shard": 8}
    declare("some", source="folder", folder=str(repository.folder), **changes)
    ran = medassets("build", "some")
    assert ran.code == 0
    assert "  rejected: 2 samples (" in ran.out
    assert f"{BAD_VOLUMES[faults[0]].reason} " in ran.out


def test_shards_of_another_instance_are_recorded_without_computing(
    medassets: Medassets, built: Path, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    before = digests(built)
    times = {path: path.stat().st_mtime_ns for path in built.rglob("*.tar")}
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "another"))
    status = medassets("status", "lungs")
    assert status.code == 0
    assert "orphaned (on disk and whole, unknown to Dagster): train-000000, " in status.out
    ran = medassets("build", "lungs")
    assert ran.out.startswith("lungs: 0 shards built, 4 recorded without computing, 0 kept, in")
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
    assert "stopped here: the other shards would meet the same" in ran.err
    assert ran.out.startswith("remote: 0 shards built, 0 kept, 1 failed, in")
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


def test_an_error_nobody_foresaw_shows_its_traceback(
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

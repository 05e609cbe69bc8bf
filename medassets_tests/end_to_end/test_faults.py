"""A hub that fails in every way, through whole builds."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from medassets.sources.hub import HubPolicy, HubSource
from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.hub import FaultKind, LocalHub

pytestmark = pytest.mark.slow

REPO_ID = "org/ct-small"
TOKEN = "hf_thisIsNoRealTokenButMustNotLeak"
IMPATIENT = HubPolicy(
    max_attempts=5,
    first_backoff_s=0.01,
    longest_backoff_s=0.05,
    stall_timeout_s=0.4,
    connect_timeout_s=2.0,
    max_retry_after_s=0.1,
    progress_bytes=2_000,
)
# The usual patience gives up after several minutes; what is fatal must not wait for that.
FATAL_WITHIN_S = 40.0


@pytest.fixture
def repository(tmp_path: Path) -> SyntheticRepository:
    """Seven volumes: a full shard and a short one."""
    return make_ct_rate_repository(
        tmp_path / "repository",
        num_patients=3,
        splits=("train",),
        shape_range=((20, 18, 12), (26, 24, 16)),
    )


@pytest.fixture
def hub(repository: SyntheticRepository, declare: Callable[..., None]) -> Iterator[LocalHub]:
    """The repository, served and declared."""
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(repo_id=REPO_ID, endpoint=hub.endpoint, samples_per_shard=4)
        yield hub


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten the patience towards hubs in this process."""
    hasty = partial(HubSource, policy=IMPATIENT)
    monkeypatch.setattr("medassets.datasets.ct_sources.hub.HubSource", hasty)


@pytest.fixture
def undisturbed(
    hub: LocalHub, make_home: Callable[..., Any], build: Callable[..., Any]
) -> dict[str, bytes]:
    """Every file that a build leaves when nothing goes wrong."""
    home = make_home("undisturbed")
    outcome = build(home)
    assert outcome.code == 0, outcome.text
    hub.forget_requests()
    return home.contents()


def volume(repository: SyntheticRepository, index: int) -> str:
    """Return the path of the volume that becomes a sample at an index."""
    keys = repository.keys("train")
    return next(v.path for v in repository.volumes if v.key == keys[index])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unauthorized", "/datasets/org/ct-small"),
        ("bad_token", "HF_TOKEN is wrong or expired"),
        ("gated", "ask for access at"),
        ("forbidden", "forbids reading"),
    ],
)
def test_refused_access_ends_a_build_within_seconds_and_says_where_to_ask(
    kind: FaultKind,
    words: str,
    hub: LocalHub,
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    hub.fail(kind, "*.nii.gz", times=None)
    home = make_home("refused")
    outcome = build(home, HF_TOKEN=TOKEN)
    assert (outcome.code, outcome.seconds < FATAL_WITHIN_S) == (3, True), outcome.text
    assert words in outcome.text
    assert f"{hub.endpoint}/datasets/{REPO_ID}" in outcome.text
    assert "HF_TOKEN" in outcome.text
    assert home.shards() == {}
    # One refusal is enough: other shards are not even tried.
    assert len(hub.requests("resolve")) <= 4 + 4
    assert_no_leak(home, outcome.text)


def test_refused_tables_end_the_catalog_in_the_same_words(
    hub: LocalHub, make_home: Callable[..., Any], build: Callable[..., Any]
) -> None:
    hub.fail("gated", times=None)
    home = make_home("refused")
    outcome = build(home, HF_TOKEN=TOKEN)
    assert (outcome.code, outcome.seconds < FATAL_WITHIN_S) == (3, True), outcome.text
    assert f"ask for access at {hub.endpoint}/datasets/{REPO_ID}" in outcome.text
    assert "HF_TOKEN" in outcome.text
    assert home.contents() == {}
    assert_no_leak(home, outcome.text)


def assert_no_leak(home: Any, text: str) -> None:
    """Look for the token in the output, and in every file of a home, Dagster's among them."""
    assert TOKEN not in text
    leaks = [p for p in home.folder.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    assert leaks == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("kind", "reason"), [("missing", "missing_upstream"), ("wrong_bytes", "checksum_mismatch")]
)
def test_a_file_that_never_comes_right_costs_its_own_sample_only(
    kind: FaultKind,
    reason: str,
    repository: SyntheticRepository,
    hub: LocalHub,
    undisturbed: dict[str, bytes],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    read_members: Callable[..., dict[str, bytes]],
) -> None:
    hub.fail(
        kind, volume(repository, 1), times=None, **({"at_byte": 900} if kind != "missing" else {})
    )
    home = make_home("rejected")
    outcome = build(home)
    assert outcome.code == 0, outcome.text
    lost = repository.keys("train")[1]
    assert home.rejected() == {lost: reason}
    (entry,) = home.manifest()["shards"][0]["rejected"]
    assert (entry["key"], entry["reason"]) == (lost, reason)
    expected = read_members(undisturbed)
    kept = {name: data for name, data in expected.items() if not name.startswith(f"{lost}.")}
    assert read_members(home.contents()) == kept
    assert not any(path.startswith("staging/") for path in home.contents())


def test_a_volume_that_only_the_tables_know_is_missing_upstream(
    repository: SyntheticRepository,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    (repository.folder / volume(repository, 0)).unlink()
    with LocalHub(repository.folder, REPO_ID) as hub:
        declare(repo_id=REPO_ID, endpoint=hub.endpoint)
        home = make_home("missing")
        assert build(home).code == 0
    assert home.rejected() == {repository.keys("train")[0]: "missing_upstream"}


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["unavailable", "stall"])
def test_a_hub_that_stays_broken_fails_the_build_and_the_next_one_continues(
    kind: FaultKind,
    repository: SyntheticRepository,
    hub: LocalHub,
    undisturbed: dict[str, bytes],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    hub.fail(
        kind, volume(repository, 4), times=None, **({"at_byte": 500} if kind == "stall" else {})
    )
    home = make_home("silent")
    outcome = build(home)
    assert outcome.code in (1, 3), outcome.text
    assert "given up after 5 failures in a row" in outcome.text
    assert "train-000001" in outcome.text
    assert sorted(home.records()) == ["train-000000"]
    assert not home.manifest()["complete"]
    hub.heal()
    healed = build(home)
    assert healed.code == 0, healed.text
    assert home.contents() == undisturbed


@pytest.mark.usefixtures("impatient")
def test_a_build_through_all_that_can_be_retried_ends_with_the_same_bytes(
    repository: SyntheticRepository,
    hub: LocalHub,
    undisturbed: dict[str, bytes],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    tables = "dataset/metadata/*"
    hub.fail("rate_limit", tables, times=2)
    hub.fail("unavailable", "*", place="info", times=2)
    hub.fail("unavailable", "*", place="paths-info", times=2)
    hub.fail("rate_limit", volume(repository, 0), retry_after_s=3600)
    hub.fail("unavailable", volume(repository, 0), times=2)
    hub.fail("reset", volume(repository, 1), at_byte=-1)
    hub.fail("reset", volume(repository, 1), at_byte=3000)
    hub.fail("truncate", volume(repository, 2), at_byte=4000)
    hub.fail("short", volume(repository, 2), at_byte=1000)
    hub.fail("wrong_bytes", volume(repository, 3), at_byte=2000, times=2)
    hub.fail("stall", volume(repository, 4), at_byte=2500)
    hub.fail("long", volume(repository, 5))
    hub.fail("ignore_range", volume(repository, 6), skip=1)
    hub.fail("reset", volume(repository, 6), at_byte=2000)
    hub.fail("expired_link", volume(repository, 5), skip=1)
    home = make_home("disturbed")
    outcome = build(home)
    assert outcome.code == 0, outcome.text
    assert home.contents() == undisturbed
    assert len(hub.requests("body")) > 7 + 10

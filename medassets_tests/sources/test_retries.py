"""Retries of requests to a hub: number of attempts, and pauses between them."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import SourceAccessError, SourceUnavailableError
from medassets.sources.hub import HubSource
from medassets.sources.hub_errors import Failure, FailureKind
from medassets.sources.rate_limit import RateLimiter
from medassets.sources.retries import Attempts, HubPolicy
from medassets.testing.hub import LocalHub
from medassets_tests.sources.fetching import VOLUME, fetch


def test_steady_outage_ends_after_bounded_attempts(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("unavailable", times=None)
    with pytest.raises(SourceUnavailableError, match=r"given up after 4 failures.*HTTP 503"):
        fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 4


def test_progress_earns_further_attempts(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    hub.fail("truncate", times=None, at_byte=60_000)
    staged = fetch(source, tmp_path / "file")
    assert staged.path.read_bytes() == (repo / VOLUME).read_bytes()
    assert len(hub.requests("body")) == 12


def test_restarting_for_ever_is_no_progress(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]
    hub.fail("web_page", VOLUME, place="body", skip=1, times=None)
    hub.fail("reset", at_byte=300_000, times=None)
    with pytest.raises(SourceUnavailableError, match="given up after 4 failures"):
        source.fetch(described, tmp_path / "file")


def test_endless_retry_after_is_cut(hub: LocalHub, source: HubSource, tmp_path: Path) -> None:
    described = source.describe(["vol/a.nii.gz"], revision=None)["vol/a.nii.gz"]
    hub.fail("rate_limit", retry_after_s=3600)
    start = time.monotonic()
    source.fetch(described, tmp_path / "a")
    assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("num_failed", "seconds"), [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (10_000, 60.0)]
)
def test_pauses_double_up_to_the_longest(num_failed: int, seconds: float) -> None:
    pauses = [HubPolicy().backoff_s(num_failed) for _ in range(200)]
    assert 0.75 * seconds <= min(pauses) < max(pauses) <= 1.25 * seconds


@pytest.mark.parametrize(("reached", "num_attempts"), [(False, 2), (True, 4)])
def test_a_hub_that_never_answered_is_given_up_sooner(
    quick_policy: HubPolicy, reached: bool, num_attempts: int
) -> None:
    limiter = RateLimiter()
    limiter.reached = reached
    attempts = Attempts(replace(quick_policy, max_unreached=2), limiter, what="sizes")
    unreached = Failure(FailureKind.UNREACHED, "connection failed")
    for _ in range(num_attempts - 1):
        attempts.wait_after(unreached)
    match = f"sizes: given up after {num_attempts} failures in a row, the last: connection failed"
    with pytest.raises(SourceUnavailableError, match=match):
        attempts.wait_after(unreached)


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        (FailureKind.ACCESS, SourceAccessError),
        (FailureKind.REFUSED, SourceUnavailableError),
        (FailureKind.MISSING_FILE, SourceUnavailableError),
    ],
)
def test_what_no_retry_can_mend_is_raised_at_once(
    quick_policy: HubPolicy, kind: FailureKind, error: type[Exception]
) -> None:
    attempts = Attempts(quick_policy, RateLimiter(), what="sizes")
    with pytest.raises(error, match=r"^said$"):
        attempts.wait_after(Failure(kind, "said"), progressed=True)


def test_a_pause_that_the_hub_requests_stops_all_its_requests(quick_policy: HubPolicy) -> None:
    limiter = RateLimiter()
    patient = replace(quick_policy, max_retry_after_s=50.0)
    attempts = Attempts(patient, limiter, what="sizes")
    attempts.wait_after(Failure(FailureKind.BUSY, "slow down", retry_after_s=3600.0))
    assert 49 < limiter.seconds_left() <= 50

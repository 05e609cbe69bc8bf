import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.sources.hub import HubSource
from medassets.sources.rate_limit import RateLimiter, shared_limiter
from medassets.testing.hub import LocalHub


def test_door_is_open_without_a_pause() -> None:
    assert RateLimiter().seconds_left() == 0


def test_longer_pause_wins() -> None:
    limiter = RateLimiter()
    limiter.pause(5)
    limiter.pause(1)
    assert 4 < limiter.seconds_left() <= 5


def test_wait_ends_when_tick_raises() -> None:
    limiter = RateLimiter()
    limiter.pause(60)

    def stop() -> None:
        raise InterruptedError

    start = time.monotonic()
    with pytest.raises(InterruptedError):
        limiter.wait(tick=stop)
    assert time.monotonic() - start < 1


def test_one_limiter_per_hub() -> None:
    assert shared_limiter("http://one") is shared_limiter("http://one")
    assert shared_limiter("http://one") is not shared_limiter("http://two")


def test_retry_after_is_honoured_by_all_threads(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    patient = replace(source, policy=replace(source.policy, max_retry_after_s=10.0))
    files = patient.describe(["vol/a.nii.gz", "vol/b c.nii.gz"], revision=None)
    hub.fail("rate_limit", "vol/a.nii.gz", retry_after_s=1)
    start = time.monotonic()
    first = threading.Thread(
        target=lambda: patient.fetch(files["vol/a.nii.gz"], tmp_path / "a"), daemon=True
    )
    first.start()
    while not hub.requests("resolve"):
        time.sleep(0.01)
    time.sleep(0.1)
    patient.fetch(files["vol/b c.nii.gz"], tmp_path / "b")
    first.join()
    assert 0.9 < time.monotonic() - start < 5
    assert len(hub.requests("resolve")) == 3

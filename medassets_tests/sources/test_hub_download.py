"""Download of one file from a local hub through faults of every kind."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    ForeignFileError,
    LockTimeoutError,
    Reason,
    SampleRejectedError,
)
from medassets.sources.hub import HubSource
from medassets.storage.locks import lock_file
from medassets.testing.hub import FaultKind, LocalHub
from medassets_tests.npz_source import flip_byte
from medassets_tests.sources.fetching import VOLUME, fetch


@pytest.mark.parametrize("path", [VOLUME, "vol/b c.nii.gz", "table.csv"])
def test_fetched_file_equals_the_original(
    source: HubSource, repo: Path, tmp_path: Path, path: str
) -> None:
    staged = fetch(source, tmp_path / "out" / "file", path)
    assert staged.path.read_bytes() == (repo / path).read_bytes()
    assert staged.num_bytes == (repo / path).stat().st_size
    assert {p.name for p in staged.path.parent.iterdir()} == {"file", ".file.staged.json"}


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limit",
        "unavailable",
        "web_page",
        "reset",
        "truncate",
        "short",
        "long",
        "wrong_bytes",
        "stall",
        "ignore_range",
    ],
)
@pytest.mark.parametrize("path", [VOLUME, "table.csv"])
def test_passing_fault_leaves_no_trace_in_the_bytes(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path, kind: FaultKind, path: str
) -> None:
    hub.fail(kind, path, at_byte=5)
    staged = fetch(source, tmp_path / "out" / "file", path)
    assert staged.path.read_bytes() == (repo / path).read_bytes()
    assert {p.name for p in staged.path.parent.iterdir()} == {"file", ".file.staged.json"}
    if kind != "ignore_range":
        assert len(hub.requests("resolve")) == 2


def test_expired_link_is_asked_for_anew(hub: LocalHub, source: HubSource, tmp_path: Path) -> None:
    hub.fail("expired_link")
    fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 2


def test_reset_before_the_answer_is_retried(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=-1, place="resolve")
    hub.fail("reset", at_byte=-1)
    fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 3


def test_broken_body_is_resumed_with_a_range(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=400_000)
    hub.fail("truncate", at_byte=100_000)
    fetch(source, tmp_path / "file")
    assert [r.range_start for r in hub.requests("body")] == [None, 400_000, 500_000]


def test_ignored_range_starts_over(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=400_000)
    hub.fail("ignore_range")
    staged = fetch(source, tmp_path / "file")
    assert staged.path.read_bytes() == (repo / VOLUME).read_bytes()
    assert [r.range_start for r in hub.requests("body")] == [None, 400_000]


def test_wrong_bytes_again_and_again_reject_the_sample(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("wrong_bytes", times=None, at_byte=699_999)
    with pytest.raises(SampleRejectedError, match="arrived 3 times with other bytes") as caught:
        fetch(source, tmp_path / "file")
    assert caught.value.reason is Reason.CHECKSUM_MISMATCH
    assert len(hub.requests("body")) == 3
    assert not (tmp_path / "file").exists()


def test_file_stored_shorter_than_promised_rejects_the_sample(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]
    longer = replace(described, num_bytes=700_002)
    with pytest.raises(SampleRejectedError, match="checksum_mismatch"):
        source.fetch(longer, tmp_path / "file")


@pytest.mark.parametrize("place", ["resolve", "body"])
def test_missing_file_rejects_the_sample_at_once(
    hub: LocalHub, source: HubSource, tmp_path: Path, place: str
) -> None:
    hub.fail("missing", VOLUME, times=None, place=place)
    with pytest.raises(SampleRejectedError, match="does not exist in the source") as caught:
        fetch(source, tmp_path / "file")
    assert caught.value.reason is Reason.MISSING_UPSTREAM
    assert len(hub.requests("resolve")) == 1


def test_right_file_at_the_target_is_taken_over(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes((repo / VOLUME).read_bytes())
    fetch(source, tmp_path / "file")
    assert not hub.requests("resolve")


def test_damaged_file_at_the_target_is_replaced_if_it_was_staged_there(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    damaged = bytearray((repo / VOLUME).read_bytes())
    damaged[1234] ^= 1
    (tmp_path / "file").write_bytes(damaged)
    with pytest.raises(ForeignFileError, match="file: this was not made by medassets"):
        fetch(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == damaged
    (tmp_path / "file").unlink()
    place = fetch(source, tmp_path / "file").path
    # A disk that loses a bit leaves the time as it is; a user who replaces the file does not.
    before = place.stat()
    flip_byte(place, 1234)
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert fetch(source, place).path.read_bytes() == (repo / VOLUME).read_bytes()
    flip_byte(place, 1234)
    with pytest.raises(ForeignFileError, match="file: this was not made by medassets"):
        fetch(source, place)


def test_leftover_of_other_bytes_is_removed(source: HubSource, tmp_path: Path) -> None:
    (tmp_path / f"file.{'0' * 64}.part").write_bytes(b"old")
    fetch(source, tmp_path / "file")
    assert not list(tmp_path.glob("*.part"))


def test_callback_counts_every_byte_that_arrives(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    seen: list[int] = []
    hub.fail("reset", at_byte=400_000)
    hub.fail("ignore_range")
    described = source.describe([VOLUME], revision=None)[VOLUME]
    source.fetch(described, tmp_path / "file", on_bytes=seen.append)
    assert sum(seen) == 400_000 + 700_001
    seen.clear()
    source.fetch(described, tmp_path / "file", on_bytes=seen.append)
    assert sum(seen) == 0


def test_callback_ends_a_fetch_and_keeps_its_bytes(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    def stop(num_bytes: int) -> None:
        if num_bytes:
            raise InterruptedError

    described = source.describe([VOLUME], revision=None)[VOLUME]
    with pytest.raises(InterruptedError):
        source.fetch(described, tmp_path / "file", on_bytes=stop)
    assert next(tmp_path.glob("file.*.part")).stat().st_size > 0


def test_wait_for_another_process_can_be_ended(source: HubSource, tmp_path: Path) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]

    def stop(_: int) -> None:
        raise InterruptedError

    with lock_file(tmp_path / ".file.lock"), pytest.raises(InterruptedError):
        source.fetch(described, tmp_path / "file", on_bytes=stop)


def test_wait_for_another_process_is_bounded(source: HubSource, tmp_path: Path) -> None:
    hasty = replace(source, policy=replace(source.policy, lock_timeout_s=0.1))
    described = source.describe([VOLUME], revision=None)[VOLUME]
    with lock_file(tmp_path / ".file.lock"), pytest.raises(LockTimeoutError, match="held this"):
        hasty.fetch(described, tmp_path / "file")

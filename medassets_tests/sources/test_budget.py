"""Budget of a staging folder, in one process and in several."""

import errno
import fcntl
import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import DiskSpaceError
from medassets.samples import StagedFile
from medassets.sources.budget import (
    list_entries,
    lock_folder,
    read_reservations,
    remove_reservations,
    reserve_bytes,
)
from medassets.sources.hub import HubSource
from medassets.sources.staging import Staging
from medassets.testing.hub import LocalHub
from medassets_tests.sources.staging_processes import (
    A,
    B,
    child,
    describe,
    go_on,
    list_files,
    read_line,
    wait_for,
)


def test_what_can_never_fit_fails_at_once(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    small = replace(staging, budget_bytes=1_000_007)
    with pytest.raises(DiskSpaceError, match=r"1,000,008 bytes.*budget is 1,000,007"):
        small.stage(source, describe(source, A, B))
    assert not hub.requests("resolve")


def test_lowered_budget_does_not_lock_out_what_is_there(
    source: HubSource, staging: Staging
) -> None:
    files = describe(source, A, B)
    staged = staging.stage(source, files)
    assert replace(staging, budget_bytes=1).stage(source, files) == staged


def test_full_budget_is_explained_after_the_wait(source: HubSource, staging: Staging) -> None:
    tight = replace(staging, budget_bytes=800_000)
    tight.stage(source, describe(source, A))
    with pytest.raises(DiskSpaceError, match=r"300,007 bytes are needed, 700,001 of.*800,000") as e:
        tight.stage(source, describe(source, B))
    assert A in str(e.value)


def test_wait_ends_when_room_is_freed(source: HubSource, staging: Staging) -> None:
    tight = replace(staging, budget_bytes=800_000, wait_timeout_s=30.0)
    tight.stage(source, describe(source, A))
    timer = threading.Timer(0.5, tight.release, [[A]])
    timer.start()
    start = time.monotonic()
    assert isinstance(tight.stage(source, describe(source, B))[B], StagedFile)
    assert 0.4 < time.monotonic() - start < 10
    timer.join()


def test_budget_holds_for_two_processes(hub: LocalHub, source: HubSource, staging: Staging) -> None:
    tight = replace(staging, budget_bytes=800_000)
    with child(hub, tight, A, "once") as other:
        assert read_line(other) == "staged"
        with pytest.raises(DiskSpaceError, match="held by 1 files of other shards"):
            tight.stage(source, describe(source, B))
        go_on(other)
        patient = replace(tight, wait_timeout_s=30.0)
        assert isinstance(patient.stage(source, describe(source, B))[B], StagedFile)


def test_files_still_arriving_count_in_full(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    tight = replace(staging, budget_bytes=800_000)
    hub.fail("stall", A, at_byte=1000, times=None)
    with child(hub, tight, A, "once") as other:
        wait_for(lambda: list(tight.folder.rglob("*.part")))
        files = describe(source, B)
        with pytest.raises(DiskSpaceError, match="700,001 of the staging budget"):
            tight.stage(source, files)
        other.send_signal(signal.SIGKILL)
        other.wait()
        # Room that only a dead process held is free; the piece it left is thrown away if needed.
        assert isinstance(tight.stage(source, files)[B], StagedFile)


def test_budget_is_never_exceeded_by_competing_processes(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    tight = replace(staging, budget_bytes=750_000)
    most = 0
    with child(hub, tight, A) as one, child(hub, tight, B) as two:
        while one.poll() is None or two.poll() is None:
            held = sum(entry.num_bytes for entry in list_entries(tight.folder).values())
            most = max(most, held)
            time.sleep(0.002)
        assert (one.returncode, two.returncode) == (0, 0)
    assert 0 < most <= 750_000
    assert list_files(tight.folder) == []


def test_files_are_listed_by_their_path_in_the_source(tmp_path: Path) -> None:
    (tmp_path / "vol").mkdir()
    partial = tmp_path / "vol" / f"b.gz.{'0' * 64}.part"
    for place, num_bytes in {tmp_path / A.replace("/", "-"): 3, partial: 5}.items():
        place.write_bytes(b"x" * num_bytes)
    (tmp_path / "vol" / ".b.gz.lock").write_bytes(b"hidden")
    (tmp_path / ".reservations").mkdir()
    (tmp_path / ".reservations" / "1-a.json").write_bytes(b"{}")
    found = {e.path: (e.num_bytes, e.partials) for e in list_entries(tmp_path).values()}
    assert found == {"vol-a.nii.gz": (3, ()), "vol/b.gz": (5, (partial,))}


def test_a_reservation_ends_with_its_block(tmp_path: Path) -> None:
    with reserve_bytes(tmp_path, {A: 7}, budget_bytes=10, timeout_s=0, tick=lambda: None):
        with lock_folder(tmp_path):
            assert read_reservations(tmp_path) == {A: 7}
        with (
            pytest.raises(
                DiskSpaceError, match="4 bytes are needed, 7 of the staging budget of 10"
            ),
            reserve_bytes(tmp_path, {B: 4}, budget_bytes=10, timeout_s=0, tick=lambda: None),
        ):
            pass
    with lock_folder(tmp_path):
        assert read_reservations(tmp_path) == {}


def test_a_reservation_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".reservations" / "1-0123456789abcdef.json"
    left.parent.mkdir()
    left.write_text('{"vol/a.nii.gz": 7}')
    with lock_folder(tmp_path):
        assert read_reservations(tmp_path) == {}
        remove_reservations(tmp_path)
    assert not left.parent.exists()


def test_tick_can_end_the_wait_for_space(tmp_path: Path) -> None:
    def stop() -> None:
        raise InterruptedError

    (tmp_path / "held.gz").write_bytes(b"x" * 7)
    wait = reserve_bytes(tmp_path, {B: 4}, budget_bytes=10, timeout_s=60, tick=stop)
    with pytest.raises(InterruptedError), wait:
        pass


@pytest.mark.parametrize("name", ["0123456789abcdef", "1-0123456789abcdef"])
def test_reservations_are_read_on_nfs_where_a_lock_needs_a_descriptor_that_may_write(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def flock_of_nfs(file: Any, operation: int) -> None:
        if fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", flock_of_nfs)
    left = tmp_path / ".reservations" / f"{name}.json"
    with reserve_bytes(tmp_path, {A: 7}, budget_bytes=10, timeout_s=0, tick=lambda: None):
        left.write_text('{"vol/b.gz": 3}')
        with lock_folder(tmp_path):
            assert read_reservations(tmp_path) == {A: 7}
    assert not left.exists()


def test_who_fetches_ahead_takes_no_room_while_another_process_waits_for_some(
    hub: LocalHub, source: HubSource, staging: Staging
) -> None:
    tight = replace(staging, budget_bytes=800_000)
    ahead = replace(tight, gives_way=True, wait_timeout_s=0.0)
    tight.stage(source, describe(source, A))
    small = describe(source, "table.csv")
    with child(hub, tight, B) as other:
        wait_for(lambda: list(tight.folder.glob(".reservations/*.waits")))
        with pytest.raises(DiskSpaceError, match="15 bytes are needed"):
            ahead.stage(source, small)
        # Its own turn is another matter.
        assert tight.stage(source, small)
        tight.release(["table.csv"])
        other.kill()
        other.wait()
        assert ahead.stage(source, small)
    tight.release([A, "table.csv"])
    assert list_files(tight.folder) == []

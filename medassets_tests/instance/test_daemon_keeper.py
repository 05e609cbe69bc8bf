"""A daemon that ends is started again, later each time, and ends with its keeper."""

import os
import sys
import threading
from pathlib import Path

import pytest

from medassets.instance import daemon_keeper
from medassets.instance.daemon_keeper import DaemonKeeper
from medassets_tests.cli.waiting import wait_until

# Tells its process id, and ends when its standard input does.
DAEMON = "import os, sys; print(os.getpid(), flush=True); sys.stdin.read()"


@pytest.fixture
def lock_fd(tmp_path: Path) -> int:
    """A descriptor to inherit."""
    return os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)


def start(command: list[str], log: Path, lock_fd: int, told: list[str]) -> DaemonKeeper:
    keeper = DaemonKeeper(command, log, lock_fd, told.append)
    threading.Thread(target=keeper.keep, daemon=True).start()
    return keeper


def list_started(log: Path) -> list[int]:
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def test_a_daemon_waits_minutes_for_a_launch_on_a_busy_machine(
    tmp_path: Path, lock_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_GRPC_TIMEOUT_SECONDS", raising=False)
    log = tmp_path / "daemon.log"
    tell = "import sys, dagster._grpc.client as c; print(c.DEFAULT_GRPC_TIMEOUT, flush=True)"
    keeper = start([sys.executable, "-c", f"{tell}; sys.stdin.read()"], log, lock_fd, [])
    wait_until(lambda: list_started(log) == [300])
    keeper.stop()


def test_a_killed_daemon_is_started_again_and_the_log_is_appended_to(
    tmp_path: Path, lock_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_keeper, "_FIRST_PAUSE_S", 0.01)
    log, told = tmp_path / "daemon.log", list[str]()
    keeper = start([sys.executable, "-c", DAEMON], log, lock_fd, told)
    for number in range(1, 4):
        wait_until(lambda number=number: len(list_started(log)) == number)
        os.kill(list_started(log)[-1], 9)
    wait_until(lambda: len(list_started(log)) == 4)
    keeper.stop()
    assert [text.partition("; it is started again in ")[0] for text in told] == [
        "the daemon ended, exit code -9"
    ] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(list_started(log)[-1], 0)


def test_a_daemon_that_ends_at_once_is_started_ever_later(
    tmp_path: Path, lock_fd: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon_keeper, "_FIRST_PAUSE_S", 0.6)
    monkeypatch.setattr(daemon_keeper, "_LONGEST_PAUSE_S", 1.2)
    told: list[str] = []
    keeper = start([sys.executable, "-c", "exit(3)"], tmp_path / "log", lock_fd, told)
    wait_until(lambda: len(told) == 3)
    keeper.stop()
    pauses = [text.split("started again in ")[1].split(" s.")[0] for text in told]
    assert pauses == ["1", "1", "1"]
    assert all("exit code 3" in text for text in told)


def test_nothing_is_started_after_the_end(tmp_path: Path, lock_fd: int) -> None:
    keeper = DaemonKeeper([sys.executable, "-c", DAEMON], tmp_path / "log", lock_fd, print)
    keeper.stop()
    keeper.keep()
    assert list_started(tmp_path / "log") == []

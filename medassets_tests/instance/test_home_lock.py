"""One server per home: the second is told who the first is."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medassets.errors import LockTimeoutError
from medassets.instance import home_lock
from medassets.instance.home_lock import holding_home, watching_lock

HOLD = """
import sys
import threading
import time
from pathlib import Path
from medassets.instance import home_lock
from medassets.instance.home_lock import holding_home, watching_lock
with holding_home(Path(sys.argv[1]), print) as lock:
    lock.announce("http://127.0.0.1:3000")
    child = None
    if len(sys.argv) > 2:
        import subprocess
        command = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(lock.fd,))
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def holding(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that holds the lock of a home, until the block is left."""
    command = [sys.executable, "-c", HOLD, str(folder), *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        yield holder


def test_the_second_names_the_first_until_that_ends(tmp_path: Path) -> None:
    with holding(tmp_path) as holder:
        named = rf"process {holder.pid} on \S+, http://127.0.0.1:3000, since 20"
        for _ in range(2):
            with (
                pytest.raises(LockTimeoutError, match=named),
                holding_home(tmp_path, pytest.fail),
            ):
                pass
    with holding_home(tmp_path, pytest.fail) as lock:
        lock.announce("http://127.0.0.1:1")


def test_a_killed_holder_is_waited_for_while_its_daemon_ends(tmp_path: Path) -> None:
    # The pipe of the child ends with the holder, as that of a daemon does.
    with holding(tmp_path, "with a child") as holder:
        holder.kill()
        holder.wait()
        told: list[str] = []
        with holding_home(tmp_path, told.append):
            pass
    assert set(told) <= {"waiting until the daemon of a server that was killed has ended"}


def test_a_lock_whose_content_is_no_json_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".up.lock").write_bytes(b"[")
    with holding_home(tmp_path, pytest.fail):
        pass
    assert (tmp_path / ".up.lock").read_bytes() == b""


@pytest.mark.parametrize("replaced", [False, True])
def test_a_lock_whose_file_is_gone_or_another_is_given_up_once(
    tmp_path: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_lock, "_LOOK_EVERY_S", 0.01)
    given_up: list[bool] = []
    seen = threading.Event()

    def give_up() -> None:
        given_up.append(True)
        seen.set()

    with holding_home(tmp_path, pytest.fail) as lock, watching_lock(lock, give_up):
        time.sleep(0.1)
        assert lock.is_in_place()
        assert not given_up
        lock.path.unlink()
        if replaced:
            lock.path.touch()
        assert seen.wait(30)
        assert not lock.is_in_place()
    assert given_up == [True]

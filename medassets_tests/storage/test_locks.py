import errno
import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import LockTimeoutError
from medassets.storage.atomic import publish_bytes, publishing
from medassets.storage.locks import lock_file
from medassets.storage.ownership import never
from medassets.storage.scratch import open_scratch

_HOLD = """
import sys
from pathlib import Path
from medassets.storage.locks import lock_file
with lock_file(Path(sys.argv[1]), timeout_s=10):
    print("held", flush=True)
    sys.stdin.read()
"""


def _hold_in_process(path: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_lock_leaves_no_file(tmp_path: Path) -> None:
    with lock_file(tmp_path / "new" / "x.lock"):
        assert (tmp_path / "new" / "x.lock").exists()
    assert list((tmp_path / "new").iterdir()) == []


def test_a_held_lock_times_out_and_names_the_file(tmp_path: Path) -> None:
    waits: list[int] = []
    with _hold_in_process(tmp_path / "x.lock") as process:
        with (
            pytest.raises(LockTimeoutError, match=r"x\.lock"),
            lock_file(tmp_path / "x.lock", timeout_s=0.1, on_wait=lambda: waits.append(1)),
        ):
            pytest.fail("two holders")
        process.communicate()
    assert waits == [1]


def test_a_killed_holder_frees_the_lock(tmp_path: Path) -> None:
    with _hold_in_process(tmp_path / "x.lock") as process:
        process.kill()
        process.wait()
        assert (tmp_path / "x.lock").exists()
        with lock_file(tmp_path / "x.lock", timeout_s=5):
            pass
    assert list(tmp_path.iterdir()) == []


def test_there_is_never_more_than_one_holder(tmp_path: Path) -> None:
    inside: list[int] = []
    worst: list[int] = []

    def work() -> None:
        for _ in range(10):
            with lock_file(tmp_path / "x.lock", timeout_s=60):
                inside.append(1)
                worst.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert worst == [1] * 60
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="boom"), lock_file(tmp_path / "x.lock"):
        {}["boom"]
    with lock_file(tmp_path / "x.lock", timeout_s=0):
        pass


def test_a_file_of_the_user_under_the_name_of_a_lock_stays(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.write_text("notes")
    for _ in range(2):
        with lock_file(path), pytest.raises(LockTimeoutError), lock_file(path, timeout_s=0):
            pass
    assert path.read_text() == "notes"


@pytest.fixture
def nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lock as NFS does: an exclusive lock needs a descriptor that may write.

    Source: man 2 flock, "NFS details".
    """
    flock = fcntl.flock

    def flock_of_nfs(file: Any, operation: int) -> None:
        may_write = fcntl.fcntl(file, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
        if operation & fcntl.LOCK_EX and not may_write:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        flock(file, operation)

    monkeypatch.setattr("fcntl.flock", flock_of_nfs)


@pytest.mark.usefixtures("nfs")
def test_every_lock_of_the_storage_works_on_nfs(tmp_path: Path) -> None:
    left = tmp_path / ".note.json.0123456789abcdef.tmp"
    left.write_bytes(b"of a killed writer")
    with lock_file(tmp_path / ".lock"):
        publish_bytes(tmp_path / "note.json", b"{}", is_ours=never)
    with publishing(tmp_path / "other.json", is_ours=never) as private:
        private.write_bytes(b"{}")
    with open_scratch(tmp_path / "made") as folder:
        assert folder.is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note.json", "other.json"]

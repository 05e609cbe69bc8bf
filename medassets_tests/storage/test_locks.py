import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from medassets.errors import LockTimeoutError
from medassets.storage.locks import lock_file

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

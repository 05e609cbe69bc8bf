"""Scratch folders end with their work, or with the next one's."""

import subprocess
import sys
from pathlib import Path

import pytest

from medassets.storage.scratch import make_scratch, open_scratch

_HOLD = """
import os, sys, tempfile
tempfile.tempdir = sys.argv[1]
# As another node or container is seen: no process of that number runs here.
os.getpid = lambda: int(sys.argv[2])
from medassets.storage.scratch import make_scratch
scratch = make_scratch()
print(getattr(scratch, "folder", scratch), flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def dead_pid() -> int:
    """Number of a process that has ended."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    return dead.pid


def start_holder(tmp_path: Path, pid: int) -> tuple[subprocess.Popen[str], Path]:
    """Return a process that holds a scratch folder, and the folder."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path), str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    return holder, Path(holder.stdout.readline().strip())


def test_a_scratch_folder_is_private_and_gone_afterwards(tmp_path: Path) -> None:
    with open_scratch() as folder:
        (folder / "clip.mp4").write_bytes(b"x")
        assert folder.stat().st_mode & 0o077 == 0
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_a_living_build_on_another_node_is_not_swept(
    tmp_path: Path, dead_pid: int
) -> None:
    holder, folder = start_holder(tmp_path, dead_pid)
    with holder:
        (folder / "clip.mp4").write_bytes(b"x")
        with open_scratch():
            assert (folder / "clip.mp4").exists()
        holder.communicate()


def test_a_folder_of_a_killed_build_is_swept(tmp_path: Path, dead_pid: int) -> None:
    holder, folder = start_holder(tmp_path, dead_pid)
    (folder / "clip.mp4").write_bytes(b"x")
    holder.kill()
    holder.communicate()
    scratch = make_scratch()
    assert not folder.exists()
    scratch.remove()
    assert list(tmp_path.iterdir()) == []


def test_folders_without_our_lock_are_left_alone(tmp_path: Path, dead_pid: int) -> None:
    foreign = ["medassets-scratch-notes", f"medassets-scratch-{dead_pid}-a", "medassets-scratch-ab"]
    for name in foreign:
        (tmp_path / name).mkdir()
    (tmp_path / ".medassets-scratch.ab.tmp").write_text("not a name of ours")
    with open_scratch():
        pass
    assert all((tmp_path / name).is_dir() for name in foreign)
    assert (tmp_path / ".medassets-scratch.ab.tmp").exists()

"""Scratch folders end with their work, or with the next one's."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from medassets.storage.processes import is_alive
from medassets.storage.scratch import make_scratch, open_scratch


@pytest.fixture(autouse=True)
def own_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_scratch_folder_is_private_and_gone_afterwards() -> None:
    with open_scratch() as folder:
        (folder / "clip.mp4").write_bytes(b"x")
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()


def test_what_a_dead_process_left_goes_and_what_a_living_one_holds_stays(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / f"medassets-scratch-{dead.pid}-a"
    left.mkdir()
    (left / "clip.mp4").write_bytes(b"x")
    held = tmp_path / f"medassets-scratch-{os.getpid()}-b"
    held.mkdir()
    other = tmp_path / "medassets-scratch-notes"
    other.mkdir()
    make_scratch()
    assert not left.exists()
    assert held.exists()
    assert other.exists()


def test_a_process_is_alive_until_it_ends() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid)
    process.communicate(b"\n")
    assert not is_alive(process.pid)
    assert is_alive(1)

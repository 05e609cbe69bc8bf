"""Private files are removed when their owner is dead, and never otherwise."""

import os
import subprocess
import sys
from pathlib import Path

from medassets.storage.private_names import open_private, sweep_private

_LEFTOVER = ".a.json.0123456789abcdef.tmp"


def test_the_file_of_a_killed_writer_is_swept_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    private = tmp_path / _LEFTOVER
    code = (
        "import fcntl, sys; f = open(sys.argv[1], 'wb'); fcntl.flock(f, fcntl.LOCK_EX);"
        "print('locked', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(private)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"locked\n"
        sweep_private(tmp_path / "a.json")
        assert private.exists()
        process.communicate()
    sweep_private(tmp_path / "a.json")
    assert not private.exists()


def test_a_private_file_is_locked_as_long_as_its_descriptor_is_open(tmp_path: Path) -> None:
    private, fd = open_private(tmp_path / "a.json")
    sweep_private(tmp_path / "a.json")
    assert private.exists()
    os.close(fd)
    sweep_private(tmp_path / "a.json")
    assert not private.exists()


def test_what_only_looks_like_a_private_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("the user's")
    (tmp_path / ".a.json.backup.tmp").write_text("not our pattern")
    (tmp_path / ".b.json.0123456789abcdef.tmp").write_text("another file's")
    (tmp_path / _LEFTOVER).symlink_to(tmp_path / "kept")
    (tmp_path / ".a.json.1123456789abcdef.tmp").mkdir()
    os.mkfifo(tmp_path / ".a.json.2123456789abcdef.tmp")
    before = sorted(path.name for path in tmp_path.iterdir())
    sweep_private(tmp_path / "a.json")
    sweep_private(tmp_path / "no folder" / "a.json")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_name_with_pattern_characters_sweeps_its_own_leftovers_only(tmp_path: Path) -> None:
    (tmp_path / ".a[1]*.0123456789abcdef.tmp").touch()
    (tmp_path / ".a1x.0123456789abcdef.tmp").touch()
    sweep_private(tmp_path / "a[1]*")
    assert [path.name for path in tmp_path.iterdir()] == [".a1x.0123456789abcdef.tmp"]

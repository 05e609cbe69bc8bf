"""Files of a home are their owner's, and its group's where the folder says so."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medassets.storage.modes import is_readable_by_others, private_files


@pytest.fixture(autouse=True)
def usual_mask() -> Iterator[None]:
    """The mask of most systems."""
    previous = os.umask(0o022)
    yield
    os.umask(previous)


def test_files_in_a_new_home_are_private(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with private_files(home):
        (home / "data").mkdir(parents=True)
        (home / "data" / "file").write_text("")
    modes = [path.stat().st_mode & 0o777 for path in (home, home / "data", home / "data" / "file")]
    assert modes == [0o700, 0o700, 0o600]
    assert not is_readable_by_others(home)
    (tmp_path / "after").mkdir()
    assert is_readable_by_others(tmp_path / "after")


def test_a_shared_home_is_its_groups_too(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o2770)
    with private_files(home):
        (home / "file").write_text("")
        (home / "data").mkdir()
    assert (home / "file").stat().st_mode & 0o777 == 0o660
    assert (home / "data").stat().st_mode & 0o7777 == 0o2770

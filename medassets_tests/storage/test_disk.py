import shutil
from pathlib import Path

import pytest

from medassets.errors import DiskSpaceError
from medassets.storage.disk import free_bytes, require_free_bytes


def test_free_bytes_of_a_path_that_does_not_exist_yet(tmp_path: Path) -> None:
    expected = shutil.disk_usage(tmp_path).free
    assert free_bytes(tmp_path / "a" / "b") == pytest.approx(expected, rel=0.05)


def test_too_little_room_is_said_with_both_numbers(tmp_path: Path) -> None:
    with pytest.raises(
        DiskSpaceError, match=r"the demo needs 1,000,000,000,000,000,000 bytes, [\d,]+ are free"
    ):
        require_free_bytes(tmp_path, 10**18, purpose="the demo")


def test_enough_room_is_silent(tmp_path: Path) -> None:
    require_free_bytes(tmp_path, 1, purpose="the demo")

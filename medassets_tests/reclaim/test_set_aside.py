"""Files moved aside together: back at their places, or deleted, and nothing else with them."""

import errno
import os
from pathlib import Path

import pytest

from medassets.reclaim.set_aside import delete_aside, iter_aside, move_aside, put_back


@pytest.fixture
def places(tmp_path: Path) -> list[Path]:
    found = [tmp_path / name for name in ("b/2", "a/1", "b/3")]
    for number, place in enumerate(found):
        place.parent.mkdir(exist_ok=True)
        place.write_text(str(number))
    (tmp_path / "b" / "other").write_text("other")
    return found


def test_files_are_moved_beside_themselves_and_come_back(
    tmp_path: Path, places: list[Path]
) -> None:
    stats = [place.stat() for place in places]
    moved = move_aside(places, ".aside")
    assert [path.read_text() for path in moved] == ["0", "1", "2"]
    assert {path.parent for path in moved} == {tmp_path / "a" / ".aside", tmp_path / "b" / ".aside"}
    assert not any(place.exists() for place in places)
    found = sorted(iter_aside(tmp_path, {".aside", ".none"}))
    assert found == [tmp_path / "a" / ".aside", tmp_path / "b" / ".aside"]
    assert all(put_back(aside) for aside in found)
    for place, before in zip(places, stats, strict=True):
        after = place.stat()
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert list(iter_aside(tmp_path, {".aside"})) == []


def test_a_folder_of_that_name_is_never_used(tmp_path: Path, places: list[Path]) -> None:
    (tmp_path / "a" / ".aside").mkdir()
    with pytest.raises(FileExistsError):
        move_aside(places, ".aside")
    assert places[1].exists()


def test_without_hard_links_files_come_back_and_replace_nothing(
    tmp_path: Path, places: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    move_aside(places, ".aside")
    places[0].write_text("new")
    assert not put_back(tmp_path / "b" / ".aside")
    assert (places[0].read_text(), places[2].read_text()) == ("new", "2")
    assert [path.name for path in (tmp_path / "b" / ".aside").iterdir()] == ["2"]
    places[0].unlink()
    assert put_back(tmp_path / "b" / ".aside")
    assert places[0].read_text() == "0"


def test_a_file_that_a_kill_left_under_both_names_comes_back(places: list[Path]) -> None:
    moved = move_aside(places[:1], ".aside")
    places[0].hardlink_to(moved[0])
    assert put_back(moved[0].parent)
    assert places[0].read_text() == "0"
    assert places[0].stat().st_nlink == 1


def test_a_folder_with_something_else_in_it_stays(tmp_path: Path, places: list[Path]) -> None:
    move_aside(places, ".aside")
    (tmp_path / "b" / ".aside" / "folder").mkdir()
    delete_aside(tmp_path / "a" / ".aside")
    assert not (tmp_path / "a" / ".aside").exists()
    with pytest.raises(OSError, match="not empty"):
        delete_aside(tmp_path / "b" / ".aside")
    assert (tmp_path / "b" / "other").exists()

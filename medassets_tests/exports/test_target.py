"""Files of a sample get their final names whole, and never in place of foreign files."""

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ForeignFileError, UsageError
from medassets.exports.journal import Exported
from medassets.exports.target import (
    Target,
    Written,
    clean_up,
    find_foreign,
    open_folder,
    private_names,
)


class Notes:
    """Collects what would be written to the journal."""

    def __init__(self) -> None:
        self.written: list[Written] = []

    def __call__(self, written: Written, info: Mapping[str, Any] | None) -> None:
        self.written.append(written)

    def list_known(self, *names: str) -> list[Exported]:
        return [
            Exported("k", "train-000000", "o", one.sizes, one.crc32, one.mtime_ns, names=names)
            for one in self.written
        ]


def list_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_folder_is_noted_published_and_replaced_by_its_next_version(tmp_path: Path) -> None:
    notes, place = Notes(), tmp_path / "sample"
    first = Target(place, [], notes).publish_folder({"a": [b"on", b"e"], "b": [b"two"]})
    assert (notes.written, first.sizes) == ([first], (3, 3))
    (place / "notes.txt").write_bytes(b"mine")
    Target(place, notes.list_known("a", "b"), notes).publish_folder({"a": [b"new"]})
    assert list_files(tmp_path) == {"sample/a": b"new", "sample/notes.txt": b"mine"}


def test_a_new_version_keeps_the_permissions_of_its_folder(tmp_path: Path) -> None:
    notes, place = Notes(), tmp_path / "sample"
    Target(place, [], notes).publish_folder({"a": [b"one"]})
    place.chmod(0o700)
    Target(place, notes.list_known("a"), notes).publish_folder({"a": [b"new"]})
    assert stat.S_IMODE(place.stat().st_mode) == 0o700


def test_a_foreign_folder_or_file_is_not_replaced(tmp_path: Path) -> None:
    notes = Notes()
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample/a").write_bytes(b"mine")
    (tmp_path / "clip.mp4").write_bytes(b"mine")
    before = list_files(tmp_path)
    with pytest.raises(ForeignFileError, match=r"sample/a: this is not what the export wrote"):
        Target(tmp_path / "sample", [], notes).publish_folder({"a": [b"ours"]})
    with pytest.raises(ForeignFileError, match=r"clip\.mp4: this is not what the export wrote"):
        Target(tmp_path / "clip.mp4", [], notes).publish_file([b"ours"])
    assert (list_files(tmp_path), notes.written) == (before, [])


def test_equal_files_of_a_killed_export_are_adopted(tmp_path: Path) -> None:
    notes, place = Notes(), tmp_path / "sample"
    made = Target(place, [], Notes()).publish_folder({"a": [b"one"]})
    assert Target(place, [], notes).adopt({"a": [b"o", b"ne"]}) == made
    assert Target(place, [], notes).adopt({"a": [b"two"]}) is None
    assert Target(place, [], notes, force=True).adopt({"a": [b"one"]}) is None
    assert notes.written == [made]


def test_a_replacement_that_was_killed_halfway_is_undone_or_finished(tmp_path: Path) -> None:
    for name in ("one", "two"):
        new, old = private_names(tmp_path / name)
        for folder in (new, old):
            folder.mkdir()
            (folder / "a").write_bytes(folder.name.encode())
    (tmp_path / ".two.old.tmp/notes.txt").write_bytes(b"mine")
    (tmp_path / "two").mkdir()
    (tmp_path / "two/a").write_bytes(b"whole")
    (tmp_path / ".three.new.tmp").write_bytes(b"not of this export")
    clean_up(tmp_path, {"one": ["a"], "two": ["a"]})
    assert list_files(tmp_path) == {
        ".three.new.tmp": b"not of this export",
        "one/a": b".one.old.tmp",
        "two/a": b"whole",
        "two/notes.txt": b"mine",
    }


def test_what_is_foreign_at_a_place_is_named(tmp_path: Path) -> None:
    notes, place = Notes(), tmp_path / "sample"
    assert find_foreign(place, [], ["a"]) == []
    Target(place, [], notes).publish_folder({"a": [b"one"]})
    known = notes.list_known("a")
    assert find_foreign(place, [], ["a"]) == [place / "a"]
    assert find_foreign(place, known, ["a"]) == []
    (place / "b").write_bytes(b"mine")
    assert find_foreign(place, known, ["a"]) == []
    assert find_foreign(place, known, ["a", "b"]) == [place / "b"]
    (place / "a").write_bytes(b"truncat")
    assert find_foreign(place, known, ["a"]) == [place / "a"]


def test_a_folder_that_cannot_be_made_is_named_with_its_argument(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"--out: cannot write to the folder .*file/in"):
        open_folder(tmp_path / "file/in", "--out")

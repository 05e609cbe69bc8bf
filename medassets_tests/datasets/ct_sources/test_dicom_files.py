"""Series as the files of a source: found by their hash, hashed whole, never named."""

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.ct_sources import dicom_files
from medassets.datasets.ct_sources.dicom_files import DicomFiles, name_aside
from medassets.errors import CatalogError, Reason, SampleRejectedError, UsageError
from medassets_tests.dicoms import Written, write_series


def only(files: DicomFiles) -> str:
    (key,) = files.scan().stacks
    return key


def digest(written: Written) -> str:
    lines = (hashlib.sha256(path.read_bytes()).hexdigest() + "\n" for path in written.paths)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def test_a_series_is_described_and_hashed_as_one_file(tmp_path: Path) -> None:
    written = write_series(tmp_path)
    files = DicomFiles(tmp_path)
    key = only(files)
    file = files.describe([key, "series-0"])[key]
    assert file.num_bytes == sum(path.stat().st_size for path in written.paths)
    assert file.mtime_ns == max(path.stat().st_mtime_ns for path in written.paths)
    seen: list[int] = []
    staged = files.fetch(file, on_bytes=seen.append)
    assert (staged.uri, staged.sha256, staged.num_bytes) == (
        f"file:{key}",
        digest(written),
        file.num_bytes,
    )
    assert sum(seen) == file.num_bytes
    assert files.list_places(key) == [path.name for path in written.paths]


def test_a_series_that_changed_is_found_as_it_is_now(tmp_path: Path) -> None:
    written = write_series(tmp_path)
    files = DicomFiles(tmp_path)
    key = only(files)
    written.paths[16].rename(tmp_path / "renamed")
    assert files.list_places(key)[16] == "renamed"
    (tmp_path / "renamed").unlink()
    stack = files.find(key)
    assert stack is not None
    assert len(stack.slices) == 16
    written.paths[3].unlink()
    assert files.find(key) is None
    # What is left of it is excluded now; its row and its series have the key.
    assert files.list_places(f"{key}-missing") == sorted(
        p.name for p in written.paths if p.exists()
    )
    series = files.find_series(key)
    assert series is not None
    assert (series.stacks, len(series.files)) == ((), 15)
    assert files.describe([key]) == {}


def test_series_that_are_being_deleted_are_left_out(tmp_path: Path) -> None:
    written = write_series(tmp_path)
    whole = DicomFiles(tmp_path).scan()
    files = DicomFiles(tmp_path)
    (key,) = whole.stacks
    aside = tmp_path / name_aside(key, "0a1b")
    aside.mkdir()
    for path in written.paths[12:]:
        path.rename(aside / path.name)
    found = files.scan()
    assert found.stacks == {}
    (series,) = found.series
    assert list(series.excluded) == [Reason.MISSING_SOURCE]
    assert "`medassets reclaim` ends it" in series.excluded[Reason.MISSING_SOURCE][0]
    assert files.is_set_aside(key)
    assert not files.has(key)
    for path in aside.iterdir():
        path.rename(tmp_path / path.name)
    aside.rmdir()
    assert [len(stack.slices) for stack in files.scan().stacks.values()] == [17]
    assert not files.is_set_aside(key)


@pytest.mark.parametrize("come_back", [False, True])
def test_series_whose_files_move_while_they_are_listed_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, come_back: bool
) -> None:
    """Twelve of its slices are as regular as all seventeen."""
    moving = write_series(tmp_path / "source" / "a")
    write_series(tmp_path / "source" / "b", number=1)
    away = tmp_path / "away"
    away.mkdir()
    hidden, rest = moving.paths[12:], moving.paths[:12]
    for path in hidden:
        path.rename(away / path.name)
    real = dicom_files.list_folder

    def list_and_move(*arguments: Any) -> Any:
        listing = real(*arguments)
        for path in rest if not come_back else ():
            if path.exists():
                path.rename(away / path.name)
        for path in hidden if come_back else ():
            if not path.exists():
                (away / path.name).rename(path)
        return listing

    monkeypatch.setattr(dicom_files, "list_folder", list_and_move)
    files = DicomFiles(tmp_path / "source")
    found = files.scan()
    assert [len(stack.slices) for stack in found.stacks.values()] == [17]
    monkeypatch.undo()
    assert len(files.scan().stacks) == (2 if come_back else 1)


def test_second_names_and_listed_files_are_known(tmp_path: Path) -> None:
    written = write_series(tmp_path / "a", num_slices=3)
    write_series(tmp_path / "a", number=1, num_slices=3, prefix="other-")
    (tmp_path / "notes.txt").write_text("nothing")
    (tmp_path / "second").hardlink_to(written.paths[1])
    files = DicomFiles(tmp_path)
    found = {len([p for p in one.files if "other-" in p.path]): one for one in files.scan().series}
    assert files.has_second_names(found[0])
    assert not files.has_second_names(found[3])
    assert files.is_listed("notes.txt")
    assert not files.is_listed("later")


def test_missing_and_unreadable_series_are_rejected_without_names(tmp_path: Path) -> None:
    written = write_series(tmp_path / "Duck")
    files = DicomFiles(tmp_path)
    key = only(files)
    file = files.describe([key])[key]
    place = written.paths[3]
    place.unlink()
    os.mkfifo(place)
    with pytest.raises(SampleRejectedError) as caught:
        files.fetch(file)
    assert "Duck" not in str(caught.value)
    assert caught.value.reason in (Reason.MISSING_UPSTREAM, Reason.UNREADABLE_SOURCE)


def test_a_folder_has_no_revisions(tmp_path: Path) -> None:
    files = DicomFiles(tmp_path)
    assert files.resolve_revision() is None
    assert not files.has_revision("main")
    assert files.in_a_hurry() is files
    with pytest.raises(UsageError):
        files.at_revision("main")
    with pytest.raises(UsageError):
        files.check_readable("a", revision="main")
    with pytest.raises(CatalogError):
        DicomFiles(tmp_path / "none").resolve_revision()
    with pytest.raises(CatalogError):
        files.read_table("none.csv")
    assert (files.uri, files.repo, files.pinned, files.is_local) == ("file:", "file:", False, True)
    assert files.physical_path("series-1") == "series-1"


def test_a_folder_that_cannot_be_listed_is_not_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Duck").mkdir()
    listed = os.scandir

    def refuse(folder: Path) -> object:
        if Path(folder).name == "Duck":
            raise PermissionError(13, "Permission denied", str(folder))
        return listed(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(CatalogError, match="a folder below it cannot be listed") as caught:
        DicomFiles(tmp_path).scan()
    assert "Duck" not in str(caught.value)
    with pytest.raises(CatalogError, match="does not exist"):
        DicomFiles(tmp_path / "none").scan()

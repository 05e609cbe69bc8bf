"""Errors of the system: those of one file reject it, the others are raised."""

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.automation.attempts import AttemptsLog
from medassets.datasets.automation.switch import read_switch
from medassets.errors import MedassetsError, Reason, SampleRejectedError
from medassets.instance.settings import write_settings
from medassets.shards.catalog.files import read_plan
from medassets.shards.failure import read_failure
from medassets.shards.files import failure_note, read_head
from medassets.shards.manifest import read_published
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.record import ShardRecord, is_record_of
from medassets.shards.verify import verify_shard
from medassets.sources.staged_notes import is_staged, note_path
from medassets.specs import VolumeDatasetSpec
from medassets.storage.checksums import parse_json, sha256_file
from medassets.storage.journal import Journal
from medassets.storage.locks import lock_file
from medassets.storage.made_file import MadeFile
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import (
    explain_refusal,
    explain_unreadable,
    is_gone,
    unreadable_as_rejection,
)
from medassets.tars.lists import read_manifest

OF_ONE_FILE = ["EACCES", "EPERM", "EIO", "ESTALE", "ELOOP", "ENXIO", "EISDIR"]
OF_THE_MACHINE = ["ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EINTR"]


def make_error(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("name", OF_ONE_FILE)
def test_an_error_of_one_file_rejects_it_with_the_words_of_the_system(name: str) -> None:
    rejection = explain_unreadable(make_error(name))
    assert rejection is not None
    assert rejection.reason is Reason.UNREADABLE_SOURCE
    assert os.strerror(getattr(errno, name)) in rejection.detail


@pytest.mark.parametrize("name", [*OF_THE_MACHINE, "ENOENT"])
def test_other_errors_are_raised_as_they_are(name: str) -> None:
    error = make_error(name)
    assert explain_unreadable(error) is None
    with pytest.raises(OSError, match=error.strerror) as caught, unreadable_as_rejection():
        raise error
    assert caught.value is error


def test_a_folder_in_place_of_a_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SampleRejectedError, match="Is a directory"), unreadable_as_rejection():
        tmp_path.read_bytes()


def test_a_link_to_itself_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SampleRejectedError, match="symbolic links"), unreadable_as_rejection():
        (tmp_path / "loop").read_bytes()


def test_only_what_has_no_name_any_more_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert not is_gone(tmp_path / "file")
    assert not is_gone(tmp_path / "dangling")
    assert is_gone(tmp_path / "nowhere")
    assert is_gone(tmp_path / "file" / "below")


def test_a_name_that_the_system_cannot_look_up_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert not is_gone(tmp_path / "loop" / "below")
    assert not is_gone(tmp_path / ("x" * 300))


KEY = "train-000000"

# File of ours below the folder of the dataset `d`, and the function that reads it.
READERS: dict[str, Callable[[DatasetPaths], tuple[Path, Callable[[], object]]]] = {
    "record": lambda p: (p.record(KEY), lambda: ShardRecord.read(p.record(KEY))),
    "manifest": lambda p: (p.manifest("train"), lambda: read_manifest(p.manifest("train"))),
    "catalog": lambda p: (p.catalog, lambda: read_plan(p.catalog)),
    "switch": lambda p: (
        p.automation_switch,
        lambda: read_switch(VolumeDatasetSpec(name="d", source="folder", folder="/x"), p),
    ),
    "attempts": lambda p: (p.attempts, AttemptsLog(p).read),
    "reclaim": lambda p: (
        p.reclaim_journal(KEY),
        lambda: ReclaimJournal.read(p.reclaim_journal(KEY)),
    ),
    "made": lambda p: (
        p.folder / ".index.json.made.jsonl",
        lambda: MadeFile(p.folder / "index.json").publish(b"x"),
    ),
    "lock": lambda p: (p.catalog_lock, lambda: lock_file(p.catalog_lock).__enter__()),
    "journal": lambda p: (
        p.folder / "j",
        lambda: Journal(p.folder / "j", {}).append({}, durable=False),
    ),
    "settings": lambda p: (p.folder / "dagster.yaml", lambda: write_settings(p.folder)),
    "digest": lambda p: (p.folder / "x", lambda: sha256_file(p.folder / "x")),
}

SORTS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.timeout(20)
def test_what_is_no_file_in_the_place_of_one_of_ours_is_named_and_stays(
    tmp_path: Path, reader: str, sort: str
) -> None:
    path, read = READERS[reader](DatasetPaths(tmp_path, "d"))
    path.parent.mkdir(parents=True)
    SORTS[sort](path)
    with pytest.raises((MedassetsError, OSError)) as caught:
        read()
    error = caught.value
    if not isinstance(error, MedassetsError):
        assert isinstance(error, OSError)
        error = explain_refusal(error)
    assert str(path) in str(error)
    assert path.exists()
    assert not path.is_file()


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.timeout(20)
def test_hints_that_are_no_files_are_no_hints(tmp_path: Path, sort: str) -> None:
    paths = DatasetPaths(tmp_path, "d")
    places = (
        failure_note(paths.shard(KEY)),
        note_path(tmp_path / "staged"),
        paths.manifest("train"),
        paths.record(KEY),
    )
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        SORTS[sort](place)
    assert read_failure(paths, KEY, "plan") is None
    assert not is_staged(tmp_path / "staged")
    assert read_published(paths, "train") is None
    assert read_head(paths.record(KEY)) is None


def test_a_journal_of_a_document_that_is_no_file_is_explained(tmp_path: Path) -> None:
    journal = tmp_path / ".manifest.json.made.jsonl"
    assert not MadeFile(tmp_path / "manifest.json").explain_journal()
    journal.mkdir()
    assert str(journal) in MadeFile(tmp_path / "manifest.json").explain_journal()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("[" * 100_000, "nested too deep"),
        ('{"a": ' + "9" * 5000 + "}", "4300 digits"),
        ("{", "Expecting"),
    ],
)
def test_json_of_ours_that_no_reader_takes_is_not_ours_and_named(
    tmp_path: Path, content: str, what: str
) -> None:
    with pytest.raises(ValueError, match=what):
        parse_json(content)
    paths = DatasetPaths(tmp_path, "d")
    path = paths.record(KEY)
    path.parent.mkdir(parents=True)
    for place in (path, paths.manifest("train")):
        place.write_text(content)
    assert not is_record_of("d", KEY)(path)
    assert read_published(paths, "train") is None
    (problem,) = verify_shard(paths, KEY, full=False)
    assert str(problem).count(str(path)) == 1

"""Notes beside staged files: what a kill or a user leaves is told apart."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ForeignFileError
from medassets.samples import StagedFile
from medassets.sources import hub_download
from medassets.sources.base import RemoteFile
from medassets.sources.hub import HubSource
from medassets.sources.staged_notes import (
    is_staged,
    note_path,
    read_note,
    remove_staged,
    write_note,
)
from medassets.sources.staging import Staging
from medassets.testing.hub import LocalHub
from medassets_tests.sources.staging_processes import A, describe

DIGEST = hashlib.sha256(b"abc").hexdigest()
FILE = RemoteFile(path="a/b.bin", num_bytes=3, sha256=DIGEST, revision="r", uri="test:a/b.bin")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A file with a note."""
    place = tmp_path / "b.bin"
    place.write_bytes(b"abc")
    write_note(place, FILE, DIGEST, content=place)
    return place


def test_a_note_says_what_was_staged(place: Path) -> None:
    found = read_note(place)
    assert found is not None
    assert (found.path, found.uri, found.revision) == (place, FILE.uri, "r")
    assert (found.num_bytes, found.sha256) == (3, DIGEST)
    assert is_staged(place)


@pytest.mark.parametrize("content", [b"abcd", b"abd"])
def test_a_file_that_was_changed_since_is_not_the_staged_one(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    assert read_note(place) is None
    assert not is_staged(place)
    # A user put it there.
    remove_staged(place)
    assert place.read_bytes() == content
    assert not note_path(place).exists()


def test_a_staged_file_that_was_only_touched_is_still_the_staged_one(place: Path) -> None:
    os.utime(place, (1, 1))
    assert read_note(place) is None
    assert is_staged(place)
    remove_staged(place)
    assert not place.exists()


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b"null", b'{"num_bytes": 3}', b"\xff"])
def test_a_note_that_cannot_be_read_is_none(place: Path, note: bytes) -> None:
    note_path(place).write_bytes(note)
    assert read_note(place) is None


def test_a_note_can_precede_its_file(tmp_path: Path) -> None:
    part, place = tmp_path / "part", tmp_path / "b.bin"
    part.write_bytes(b"abc")
    write_note(place, FILE, DIGEST, content=part)
    assert read_note(place) is None
    part.replace(place)
    assert read_note(place) is not None


def test_only_a_file_with_a_note_is_removed(place: Path) -> None:
    foreign = place.with_name("foreign.bin")
    foreign.write_bytes(b"of the user")
    for path in (place, foreign):
        remove_staged(path)
    assert list(place.parent.iterdir()) == [foreign]


@pytest.mark.parametrize("published", [False, True], ids=["before its name", "after its name"])
def test_what_a_kill_left_at_the_rename_is_released(
    source: HubSource, staging: Staging, monkeypatch: pytest.MonkeyPatch, *, published: bool
) -> None:
    publish = hub_download.publish_file

    def die(private: Path, final: Path, **evidence: Any) -> None:
        if published:
            publish(private, final, **evidence)
        raise KeyboardInterrupt

    monkeypatch.setattr(hub_download, "publish_file", die)
    with pytest.raises(KeyboardInterrupt):
        staging.stage(source, describe(source, A))
    assert (staging.folder / A).exists() == published
    staging.release([A])
    assert list(staging.folder.iterdir()) == []


def test_a_foreign_file_gets_no_note(source: HubSource, staging: Staging) -> None:
    place = staging.folder / A
    place.parent.mkdir(parents=True)
    place.write_bytes(b"of the user")
    with pytest.raises(ForeignFileError, match="not made by medassets"):
        staging.stage(source, describe(source, A))
    assert place.read_bytes() == b"of the user"
    assert not note_path(place).exists()
    staging.release([A])
    assert place.read_bytes() == b"of the user"


def test_a_right_file_that_a_user_put_there_is_used_and_stays(
    hub: LocalHub, source: HubSource, staging: Staging, repo: Path
) -> None:
    place = staging.folder / A
    place.parent.mkdir(parents=True)
    shutil.copy(repo / A, place)
    files = describe(source, A)
    hub.forget_requests()
    staged = staging.stage(source, files)[A]
    assert isinstance(staged, StagedFile)
    assert staged.path == place
    assert not hub.requests("body")
    staging.release([A])
    assert place.read_bytes() == (repo / A).read_bytes()

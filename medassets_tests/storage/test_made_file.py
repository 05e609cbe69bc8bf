"""A file at the user's choice is replaced as long as nobody changed it."""

from pathlib import Path

import pytest

from medassets.errors import ForeignFileError
from medassets.storage.made_file import MadeFile


def test_a_file_is_replaced_by_its_next_content(tmp_path: Path) -> None:
    for content in (b"one", b"two", b"one"):
        MadeFile(tmp_path / "a.json").publish(content)
        assert (tmp_path / "a.json").read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == [".a.json.made.jsonl", "a.json"]


def test_a_foreign_or_an_edited_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"theirs")
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made by medassets, or was"):
        MadeFile(path).publish(b"ours")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json"]
    path.unlink()
    MadeFile(path).publish(b"ours")
    path.write_bytes(b"edited")
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made by medassets, or was"):
        MadeFile(path).publish(b"next")
    assert path.read_bytes() == b"edited"


def test_a_content_that_a_killed_run_announced_is_ours(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    MadeFile(path).publish(b"one")
    MadeFile(path).publish(b"two")
    # The journal knows both; a kill before the rename leaves the first.
    path.write_bytes(b"one")
    MadeFile(path).publish(b"three")
    assert path.read_bytes() == b"three"


def test_other_evidence_counts_as_well(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"of an older version")
    MadeFile(path, is_ours=lambda path: b"older" in path.read_bytes()).publish(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_is_not_its_journal_is_kept(tmp_path: Path) -> None:
    path, journal = tmp_path / "a.json", tmp_path / ".a.json.made.jsonl"
    journal.write_bytes(b"my notes\n")
    with pytest.raises(ForeignFileError, match=r"\.a\.json\.made\.jsonl: this was not made by"):
        MadeFile(path).publish(b"new")
    assert (journal.read_bytes(), path.exists()) == (b"my notes\n", False)


def test_a_damaged_journal_is_not_cut_off_at_the_damage(tmp_path: Path) -> None:
    path, journal = tmp_path / "a.json", tmp_path / ".a.json.made.jsonl"
    for content in (b"one", b"two", b"three"):
        MadeFile(path).publish(content)
    damaged = journal.read_bytes().replace(b"a", b"b", 1)
    journal.write_bytes(damaged)
    with pytest.raises(ForeignFileError, match=r"\.a\.json\.made\.jsonl: this was not made by"):
        MadeFile(path).publish(b"four")
    assert journal.read_bytes() == damaged


def test_evidence_of_a_file_without_a_journal_counts_once(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"older")
    file = MadeFile(path, was_ours=lambda path: path.read_bytes().startswith(b"o"))
    file.require_ours()
    file.publish(b"ours")
    path.write_bytes(b"own words")
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made by medassets, or was"):
        file.require_ours()
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made by medassets, or was"):
        file.publish(b"next")
    assert path.read_bytes() == b"own words"

"""A journal of deleted sources is durable, and a damaged one is never taken for an empty one."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import LaterVersionError, ReclaimError
from medassets.shards.reclaim_journal import Deletion, ReclaimJournal
from medassets.storage.journal import Journal


def _deletion(name: str) -> Deletion:
    return Deletion(f"data/{name}.raw", 10, 1_700_000_000_000_000_001, {name: "00"}, {"t-0": "11"})


def test_a_journal_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    assert ReclaimJournal.read(path).is_empty
    assert not path.exists()


def test_deletions_are_read_back_as_they_were_recorded(tmp_path: Path) -> None:
    a, b = _deletion("a"), _deletion("b")
    journal = ReclaimJournal(tmp_path / "new" / "journal")
    journal.intend(iter([a, b]))
    journal.confirm(iter([b.path]))
    found = ReclaimJournal.read(journal.path)
    assert found.intended == journal.intended == {a.path: a}
    assert found.deleted == journal.deleted == {b.path: b}
    assert not found.is_empty
    found.confirm([a.path])
    again = ReclaimJournal.read(journal.path)
    assert (again.intended, again.deleted) == ({}, {a.path: a, b.path: b})


def test_no_deletions_write_no_file(tmp_path: Path) -> None:
    journal = ReclaimJournal(tmp_path / "journal")
    journal.intend([])
    journal.confirm([])
    assert list(tmp_path.iterdir()) == []


def test_damage_before_the_last_line_stops_everything(tmp_path: Path) -> None:
    journal = ReclaimJournal(tmp_path / "journal")
    for name in "abc":
        journal.intend([_deletion(name)])
    content = journal.path.read_bytes()
    place = content.index(b"data/b.raw")
    journal.path.write_bytes(content[:place] + b"X" + content[place + 1 :])
    with pytest.raises(ReclaimError, match="journal of deleted sources is damaged after byte"):
        ReclaimJournal.read(journal.path)


def test_a_last_line_cut_short_was_not_recorded(tmp_path: Path) -> None:
    journal = ReclaimJournal(tmp_path / "journal")
    journal.intend([_deletion("a")])
    journal.intend([_deletion("b")])
    journal.path.write_bytes(journal.path.read_bytes()[:-3])
    assert list(ReclaimJournal.read(journal.path).intended) == ["data/a.raw"]


def test_another_journal_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(Journal(path, {"attempts": 1})) as journal:
        journal.append({"deleted": "data/a.raw"}, durable=True)
    with pytest.raises(ReclaimError, match="not a journal of deleted sources of this version"):
        ReclaimJournal.read(path)


@pytest.mark.parametrize(
    ("header", "line", "named"),
    [
        (2, {"deleted": "data/a.raw"}, "reclaim_journal 2, known: 1"),
        (1, {"moved": "data/a.raw"}, "unknown: moved"),
        (1, {"intended": {"path": "data/a.raw", "to": "x"}}, "unknown: to of Deletion"),
    ],
)
def test_a_journal_of_a_later_version_is_refused(
    tmp_path: Path, header: int, line: dict[str, Any], named: str
) -> None:
    path = tmp_path / "journal"
    with closing(Journal(path, {"reclaim_journal": header})) as journal:
        journal.append(line, durable=True)
    before = path.read_bytes()
    with pytest.raises(LaterVersionError, match=f"{path}: written by a later version .*{named}"):
        ReclaimJournal.read(path)
    assert path.read_bytes() == before

"""Lines of a journal survive a kill; what a kill cut short, or damage follows, is known."""

from pathlib import Path

import pytest

from medassets.errors import JournalHeaderError, LaterVersionError
from medassets.storage.journal import Journal

HEADER = {"journal": 1}
BYTES = b'ef583d3f {"journal":1}\ncd500a3f {"n":0}\nd44b3b7e {"n":1}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal of two lines."""
    path = tmp_path / "journal.jsonl"
    append(path, {"n": 0}, {"n": 1})
    return path


def append(path: Path, *lines: dict[str, int]) -> None:
    journal = Journal(path, HEADER)
    list(journal.replay())
    journal.append(*lines, durable=True)
    journal.close()


def read(path: Path) -> list[dict[str, int]]:
    return list(Journal(path, HEADER).replay())


def test_lines_are_appended_behind_their_checksums(path: Path) -> None:
    assert path.read_bytes() == BYTES
    append(path, {"n": 2})
    assert path.read_bytes().startswith(BYTES)
    assert read(path) == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_a_missing_journal_is_empty_and_appears_with_its_first_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "new.jsonl", HEADER)
    assert list(journal.replay()) == []
    assert journal.is_intact()
    assert not journal.path.exists()


@pytest.mark.parametrize("cut", range(1, 17))
def test_a_line_that_a_kill_cut_short_is_dropped(path: Path, cut: int) -> None:
    path.write_bytes(BYTES[:-cut])
    journal = Journal(path, HEADER)
    assert list(journal.replay()) == [{"n": 0}]
    assert journal.is_intact()
    append(path, {"n": 1})
    assert path.read_bytes() == BYTES


def test_damage_before_the_last_line_is_detected(path: Path) -> None:
    path.write_bytes(BYTES.replace(b'"n":0', b'"n":7'))
    journal = Journal(path, HEADER)
    assert list(journal.replay()) == []
    assert (journal.is_intact(), journal.count_lines()) == (False, 1)


def test_a_line_counts_when_the_next_is_asked_for(path: Path) -> None:
    journal = Journal(path, HEADER)
    for line in journal.replay():
        if line["n"] == 1:
            break
    journal.append({"n": 2}, durable=False)
    journal.close()
    assert read(path) == [{"n": 0}, {"n": 2}]


def test_another_header_is_refused_and_told(path: Path) -> None:
    journal = Journal(path, {"journal": 2})
    with pytest.raises(JournalHeaderError, match=r"journal\.jsonl: not the expected") as caught:
        list(journal.replay())
    assert caught.value.found == HEADER


def test_a_linked_journal_is_not_written_through(tmp_path: Path, path: Path) -> None:
    link = tmp_path / "link.jsonl"
    link.symlink_to(path)
    with pytest.raises(OSError, match="symbolic link"):
        append(link, {"n": 2})
    assert path.read_bytes() == BYTES


def test_a_journal_that_is_rewritten_has_the_new_lines_and_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", {"v": 1})
    assert list(journal.replay()) == []
    journal.append({"n": 1}, {"n": 2}, durable=True)
    journal.rewrite([{"n": 3}])
    journal.append({"n": 4}, durable=True)
    journal.close()
    assert list(Journal(journal.path, {"v": 1}).replay()) == [{"n": 3}, {"n": 4}]
    assert [path.name for path in tmp_path.iterdir()] == ["j.jsonl"]


def test_a_journal_of_a_later_version_is_told_from_another_journal(path: Path) -> None:
    assert read(path)
    with pytest.raises(JournalHeaderError):
        list(Journal(path, {"journal": 1, "plan": "b"}).replay())
    with pytest.raises(LaterVersionError, match=f"{path}: .*journal 1, known: 0"):
        list(Journal(path, {"journal": 0, "plan": "b"}).replay())

"""The journal of tries."""

from pathlib import Path

import pytest

from medassets.datasets.automation.attempts import Attempts, AttemptsLog, name_item
from medassets.datasets.automation.pace import Pace
from medassets.errors import ForeignFileError, JournalHeaderError
from medassets.storage.paths import DatasetPaths

ITEM, OTHER = name_item("shards", "train-000000"), name_item("shards", "train-000001")
NOW = 1000.0


@pytest.fixture
def log(tmp_path: Path) -> AttemptsLog:
    """A journal with waits of 10, 100 and 1000 s."""
    return AttemptsLog(DatasetPaths(tmp_path, "tiny"), Pace((10.0, 100.0, 1000.0)))


def fail(log: AttemptsLog, *, now: float = NOW, plan: str = "a") -> None:
    log.note_failure(ITEM, plan, "broken", run="r", now=now)


def test_without_a_journal_everything_is_due(log: AttemptsLog) -> None:
    assert log.read() == Attempts()
    assert log.read().is_due(ITEM, "a", NOW)
    assert not log.paths.attempts.exists()


def test_a_failed_item_is_due_when_its_wait_is_over_and_other_items_are_due_now(
    log: AttemptsLog,
) -> None:
    fail(log)
    attempts = log.read()
    assert [attempts.is_due(ITEM, "a", NOW + s) for s in (0, 9.9, 10)] == [False, False, True]
    assert attempts.is_due(OTHER, "a", NOW)


def test_the_fourth_failure_leaves_an_item_until_its_inputs_change(log: AttemptsLog) -> None:
    for _ in range(4):
        fail(log)
    attempts = log.read()
    assert attempts.tries[ITEM].next_at is None
    assert not attempts.is_due(ITEM, "a", NOW + 1e9)
    assert attempts.is_due(ITEM, "b", NOW)
    fail(log, plan="b")
    assert log.read().tries[ITEM].failures == 1


def test_what_was_made_forgets_its_failures(log: AttemptsLog) -> None:
    fail(log)
    log.note_made(ITEM)
    assert log.read() == Attempts()


def test_a_killed_try_counts_no_failure_and_is_due_at_once_the_next_one_later(
    log: AttemptsLog,
) -> None:
    log.note_begin(ITEM, "a", run="first", now=NOW)
    log.note_begin(ITEM, "a", run="first", now=NOW)
    assert log.read().is_due(ITEM, "a", NOW)
    log.note_begin(ITEM, "a", run="second", now=NOW)
    attempts = log.read()
    assert (attempts.tries[ITEM].begun, attempts.tries[ITEM].failures) == (2, 0)
    assert [attempts.is_due(ITEM, "a", NOW + s) for s in (9.9, 10)] == [False, True]


def test_a_try_that_ends_is_not_a_killed_one(log: AttemptsLog) -> None:
    for run in ("first", "second"):
        log.note_begin(ITEM, "a", run=run, now=NOW)
        log.note_failure(ITEM, "a", "broken", run=run, now=NOW)
    tries = log.read().tries[ITEM]
    assert (tries.begun, tries.failures, tries.next_at) == (0, 2, NOW + 100)


def test_a_source_that_is_away_holds_all_back_and_counts_against_none(log: AttemptsLog) -> None:
    fail(log)
    for item in (ITEM, OTHER):
        log.note_away(item, "a", "no answer", run="r", now=NOW)
    attempts = log.read()
    assert attempts.away is not None
    assert (attempts.away.looks, attempts.away.next_at) == (1, NOW + 2)
    assert attempts.is_held_back(NOW + 1)
    assert not attempts.is_held_back(NOW + 2)
    assert [attempts.tries[item].failures for item in (ITEM, OTHER)] == [1, 0]


def test_each_further_look_at_the_source_waits_longer_and_an_answer_ends_it(
    log: AttemptsLog,
) -> None:
    now, waits = NOW, []
    for _ in range(4):
        log.note_away(ITEM, "a", "no answer", run="r", now=now)
        away = log.read().away
        assert away is not None
        assert away.since == NOW
        waits.append(away.next_at - now)
        now = away.next_at
    assert waits == [2, 5, 10, 10]
    log.note_made(OTHER, used_source=False)
    assert log.read().away is not None
    log.note_made(OTHER)
    assert log.read().away is None


def test_a_run_that_a_user_stopped_waits_and_counts_no_failure(log: AttemptsLog) -> None:
    log.note_begin(ITEM, "a", run="r", now=NOW)
    log.note_stopped(ITEM, "a", run="r", now=NOW)
    tries = log.read().tries[ITEM]
    assert (tries.failures, tries.begun, tries.next_at) == (0, 0, NOW + 10)


def test_what_a_manifest_was_made_from_is_remembered(log: AttemptsLog) -> None:
    log.note_made("manifest", written="x")
    fail(log)
    log.note_made("manifest", written="y")
    assert log.read().written == {"manifest": "y"}


def test_lines_that_count_no_more_are_removed(log: AttemptsLog) -> None:
    fail(log)
    log.note_made("manifest", written="x")
    for number in range(140):
        log.note_begin(OTHER, "a", run=str(number), now=NOW)
        log.note_made(OTHER)
    attempts = log.read()
    assert set(attempts.tries) == {ITEM}
    assert attempts.written == {"manifest": "x"}
    assert len(log.paths.attempts.read_bytes().splitlines()) < 100


def test_a_line_that_a_kill_cut_short_is_dropped(log: AttemptsLog) -> None:
    fail(log)
    whole = log.paths.attempts.read_bytes()
    fail(log)
    longer = log.paths.attempts.read_bytes()
    log.paths.attempts.write_bytes(longer[:-5])
    assert log.read().tries[ITEM].failures == 1
    fail(log)
    assert log.read().tries[ITEM].failures == 2
    assert log.paths.attempts.read_bytes().startswith(whole)


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"mine\n", ForeignFileError), (b'feb044ad {"other":1}\n', JournalHeaderError)],
)
def test_a_file_that_is_no_such_journal_is_named_and_stays(
    log: AttemptsLog, content: bytes, error: type[Exception]
) -> None:
    log.paths.folder.mkdir(parents=True)
    log.paths.attempts.write_bytes(content)
    with pytest.raises(error, match=r"attempts\.jsonl: "):
        fail(log)
    with pytest.raises(error, match=r"attempts\.jsonl: "):
        log.read()
    assert log.paths.attempts.read_bytes() == content


def test_a_long_error_is_cut(log: AttemptsLog) -> None:
    log.note_failure(ITEM, "a", "x" * 1000, run="r", now=NOW)
    assert log.read().tries[ITEM].error == "x" * 300 + "…"


@pytest.mark.parametrize("back", [100.0, 3e7])
def test_a_clock_that_was_ahead_and_is_set_back_stops_nothing(
    log: AttemptsLog, back: float
) -> None:
    now = NOW + back
    fail(log, now=now)
    log.note_stopped(OTHER, "a", run="r", now=now)
    log.note_asked("catalog", "", now=now)
    log.note_begin("manifest", "a", run="r", now=now)
    log.note_begin("manifest", "a", run="s", now=now)
    attempts = log.read()
    items = [(ITEM, "a"), (OTHER, "a"), ("catalog", ""), ("manifest", "a")]
    assert [attempts.is_due(*item, now) for item in items] == [False] * 4
    assert [attempts.is_due(*item, NOW) for item in items] == [True] * 4
    fail(log)
    assert not log.read().is_due(ITEM, "a", NOW)


def test_a_source_that_was_away_by_a_clock_that_is_set_back_is_looked_at_again(
    log: AttemptsLog,
) -> None:
    log.note_away(ITEM, "a", "no answer", run="r", now=NOW)
    # The clock was ahead only at the second look.
    log.note_away(ITEM, "a", "no answer", run="r", now=NOW + 3e7)
    assert log.read().is_held_back(NOW + 3e7)
    assert not log.read().is_held_back(NOW + 10)
    log.note_away(ITEM, "a", "no answer", run="r", now=NOW + 10)
    away = log.read().away
    assert away is not None
    assert (away.since, away.looks, away.next_at) == (NOW, 3, NOW + 20)
    assert log.read().is_held_back(NOW + 10)

"""Journal of what was tried: how often it failed, when it is due again, whether its source is away.

It is beside the dataset's outputs, so that a lost Dagster database loses none of it. An entry is
written before its run ends or raises; otherwise automation would start the same item again at once.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from medassets.datasets.automation.pace import Pace
from medassets.storage.journal import Journal
from medassets.storage.later_versions import refuse_unknown, take_fields
from medassets.storage.locks import lock_file
from medassets.storage.ownership import is_plain_file, require_ours
from medassets.storage.paths import DatasetPaths

_HEADER = {"attempts": 1}
_MOST_CHARACTERS = 300
_LAUNCH_S = 60.0
"""How long Dagster may take from a decision to a run on record."""

_CLOCK_S = 60.0
"""How far a time on record may be ahead before it is of a clock that was set back since."""

_SPARE_LINES = 256
"""Lines that do not count any more, after which the journal is written anew."""


def name_item(stage: str, partition: str = "") -> str:
    """Return the name of what is tried: a shard of a stage, or an unpartitioned asset."""
    return f"{stage}/{partition}" if partition else str(stage)


def is_ahead(time: float, now: float) -> bool:
    """Return whether a time on record is of a clock that was ahead and was set back since."""
    return time > now + _CLOCK_S


@dataclass(frozen=True)
class Tries:
    """What was tried of one item since it was last made.

    Attributes:
        plan: Fingerprint of the inputs that were tried; other inputs begin anew.
        last_at: Time of the last try, or of the decision for it, in seconds since 1970.
        next_at: When it is due again, in seconds since 1970; None when it is left as failed.
        failures: Tries that failed through the item itself.
        begun: Tries in a row that began and never ended: their processes were killed.
        run: Run of the last try.
        error: Why the last try failed.
    """

    plan: str
    last_at: float
    next_at: float | None = None
    failures: int = 0
    begun: int = 0
    run: str = ""
    error: str = ""


@dataclass(frozen=True)
class Away:
    """A trouble that no item is to blame for: the source does not answer, or the disk is full.

    Attributes:
        since: When it was first seen, in seconds since 1970.
        next_at: When to look again.
        looks: Tries that found it, one for each look.
        error: What it is.
        looked_at: When it was last seen; 0 in journals that do not say.
    """

    since: float
    next_at: float
    looks: int
    error: str
    looked_at: float = 0.0

    def is_held_back(self, now: float) -> bool:
        """Return whether it is too early to look again; not so after a clock was set back."""
        return now < self.next_at and not is_ahead(max(self.since, self.looked_at), now)


@dataclass(frozen=True)
class Attempts:
    """All entries of a journal that count.

    Attributes:
        tries: Name of an item -> what was tried of it.
        away: The trouble of the whole dataset, None when there is none.
        written: Name of an unpartitioned asset -> fingerprint of what it was last made from.
    """

    tries: Mapping[str, Tries] = field(default_factory=dict)
    away: Away | None = None
    written: Mapping[str, str] = field(default_factory=dict)

    def is_held_back(self, now: float) -> bool:
        """Return whether nothing is started now, because the source is away."""
        return self.away is not None and self.away.is_held_back(now)

    def find(self, item: str, plan: str) -> Tries | None:
        """Return what was tried of an item with these inputs."""
        tries = self.tries.get(item)
        return tries if tries is not None and tries.plan == plan else None

    def is_due(self, item: str, plan: str, now: float) -> bool:
        """Return whether an item that wants making may be tried now.

        A try that lies ahead was noted by a clock that was set back since: it does not hold it back.
        """
        tries = self.find(item, plan)
        if tries is None or is_ahead(tries.last_at, now):
            return True
        return tries.next_at is not None and tries.next_at <= now


class AttemptsLog:
    """The journal of one dataset.

    Attributes:
        paths: Where the dataset is stored.
        pace: How long to wait.
    """

    def __init__(self, paths: DatasetPaths, pace: Pace | None = None) -> None:
        self.paths = paths
        self.pace = pace or Pace.from_environment()

    def read(self) -> Attempts:
        """Return the entries that count; none without a journal.

        What follows a damaged line is lost: its items are tried again.

        Raises:
            ForeignFileError: If the file is no journal of this package.
            JournalHeaderError: If it is another journal.
            LaterVersionError: If a later version wrote it.
        """
        return _fold(iter(_read_lines(self._journal())), where=self.paths.attempts)

    def note_asked(self, item: str, plan: str, *, now: float) -> None:
        """Note that a run of an item is about to be launched; if it never begins, the item is due later."""
        with self._writing() as writer:
            before = writer.state.find(item, plan) or Tries(plan, last_at=now)
            writer.put(item, replace(before, last_at=now, next_at=now + _LAUNCH_S))

    def note_begin(self, item: str, plan: str, *, run: str, now: float) -> None:
        """Note that a run begins to make an item; a second note of one run changes nothing."""
        with self._writing() as writer:
            before = writer.state.find(item, plan) or Tries(plan, last_at=now)
            if before.run == run and before.begun:
                return
            begun = before.begun + 1
            due = now + self.pace.after_kill(begun)
            writer.put(
                item, replace(before, last_at=now, next_at=due, begun=begun, run=run, error="")
            )

    def note_made(self, item: str, *, written: str = "", used_source: bool = True) -> None:
        """Note that an item was made: what was tried of it counts no more.

        Args:
            item: Its name.
            written: Fingerprint of what it was made from, for an asset that follows others.
            used_source: Whether it shows that the source answers.
        """
        with self._writing() as writer:
            if item in writer.state.tries:
                writer.drop(item)
            if written and writer.state.written.get(item) != written:
                writer.append({"item": item, "written": written})
            if used_source and writer.state.away is not None:
                writer.append({"away": None})

    def note_failure(self, item: str, plan: str, error: str, *, run: str, now: float) -> None:
        """Note a failure of the item itself; it is due after 10 minutes, 1 hour, 6 hours, or left."""
        with self._writing() as writer:
            before = writer.state.find(item, plan) or Tries(plan, last_at=now)
            failures = before.failures + 1
            wait = self.pace.after_failure(failures)
            due = None if wait is None else now + wait
            writer.put(item, Tries(plan, now, due, failures, run=run, error=_cut(error)))

    def note_away(self, item: str, plan: str, error: str, *, run: str, now: float) -> None:
        """Note a trouble that counts against no item: everything waits, then one looks again."""
        with self._writing() as writer:
            before = writer.state.find(item, plan) or Tries(plan, last_at=now)
            writer.put(
                item,
                replace(before, last_at=now, next_at=now, begun=0, run=run, error=_cut(error)),
            )
            away = writer.state.away
            if away is None or not away.is_held_back(now):
                looks = away.looks + 1 if away is not None else 1
                since = min(away.since, now) if away is not None else now
                until = now + self.pace.between_looks(looks)
                writer.append({"away": asdict(Away(since, until, looks, _cut(error), now))})

    def note_stopped(self, item: str, plan: str, *, run: str, now: float) -> None:
        """Note that a user stopped the run: it counts against no item, and waits like a failure."""
        with self._writing() as writer:
            before = writer.state.find(item, plan) or Tries(plan, last_at=now)
            due = now + self.pace.retries_s[0]
            writer.put(
                item, replace(before, last_at=now, next_at=due, begun=0, run=run, error="stopped")
            )

    def _journal(self) -> Journal:
        return Journal(self.paths.attempts, _HEADER)

    @contextmanager
    def _writing(self) -> Iterator["_Writer"]:
        path = self.paths.attempts
        with lock_file(path.with_name(f"{path.name}.lock")):
            journal = self._journal()
            writer = _Writer(journal, _read_lines(journal))
            yield writer
            writer.flush()


class _Writer:
    """Entries to be added to a journal whose lock is held."""

    def __init__(self, journal: Journal, lines: list[dict[str, Any]]) -> None:
        self._journal, self._num_lines = journal, len(lines)
        self.state = _fold(iter(lines), where=journal.path)
        self._lines: list[dict[str, Any]] = []

    def put(self, item: str, tries: Tries) -> None:
        self.append({"item": item, "tries": asdict(tries)})

    def drop(self, item: str) -> None:
        self.append({"item": item, "tries": None})

    def append(self, line: dict[str, Any]) -> None:
        self._lines.append(line)

    def flush(self) -> None:
        """Add the entries; a journal with many that do not count any more is written anew."""
        if not self._lines:
            return
        try:
            state = _fold(iter(self._lines), self.state, where=self._journal.path)
            live = _unfold(state)
            if self._num_lines + len(self._lines) > 2 * len(live) + _SPARE_LINES:
                self._journal.rewrite(live)
            else:
                self._journal.append(*self._lines, durable=True)
        finally:
            self._journal.close()


def _read_lines(journal: Journal) -> list[dict[str, Any]]:
    require_ours(journal.path, is_plain_file)
    lines = list(journal.replay())
    if not journal.end:
        require_ours(journal.path, lambda path: is_plain_file(path) and journal.is_intact())
    return lines


def _fold(
    lines: Iterator[dict[str, Any]], before: Attempts | None = None, *, where: Path
) -> Attempts:
    """Return what is left of entries when each replaces the earlier ones of its item."""
    before = before or Attempts()
    tries, away, written = dict(before.tries), before.away, dict(before.written)
    for line in lines:
        refuse_unknown(where, line, ("away", "item", "tries", "written"))
        if "away" in line:
            away = take_fields(Away, line["away"], where) if line["away"] else None
        elif "written" in line:
            written[line["item"]] = line["written"]
        elif line["tries"]:
            tries[line["item"]] = take_fields(Tries, line["tries"], where)
        else:
            tries.pop(line["item"], None)
    return Attempts(tries, away, written)


def _unfold(state: Attempts) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = [
        {"item": item, "tries": asdict(tries)} for item, tries in state.tries.items()
    ]
    lines += [{"item": item, "written": text} for item, text in state.written.items()]
    return [*lines, {"away": asdict(state.away)}] if state.away is not None else lines


def _cut(error: str) -> str:
    return error if len(error) <= _MOST_CHARACTERS else f"{error[:_MOST_CHARACTERS]}…"

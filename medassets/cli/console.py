"""Prints tables and a progress bar to the terminal, or one JSON document."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, assert_never

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from medassets.cli.formatting import count_words, format_bytes
from medassets.progress import (
    BytesFetched,
    Event,
    FetchedAhead,
    SampleDone,
    ShardReclaimed,
    SourceDone,
    listening,
)
from medassets.reclaim.report import ReclaimReport
from medassets.storage.paths import show_path

MOST_WARNINGS = 50
"""Lines of one sort that a person reads; a program reads all of them with --json."""

# Shortest time between two progress lines when the output is not a terminal.
_PLAIN_LINE_S = 10.0
# A row of a table is one line where a program reads it; rich would fold it after 80 characters.
_PIPE_COLUMNS = 1_000_000


@dataclass
class Output:
    """Where a command's result goes.

    Attributes:
        as_json: One JSON document on standard output, nothing else.
    """

    as_json: bool = False

    def __post_init__(self) -> None:
        """Open the consoles: results on standard output, everything else on standard error."""
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        width = None if is_terminal else _PIPE_COLUMNS
        self.out = Console(soft_wrap=True, highlight=False, width=width)
        self.err = Console(stderr=True, soft_wrap=True, highlight=False)

    def say(self, text: str) -> None:
        """Print a line; silent with --json."""
        if not self.as_json:
            self.out.print(show_path(text), markup=False)

    def warn(self, text: str) -> None:
        """Print a warning to standard error."""
        self.err.print(show_path(text), markup=False)

    def warn_of(self, lines: Sequence[str]) -> None:
        """Print the first of many warnings, and how many more there are."""
        for line in lines[:MOST_WARNINGS]:
            self.warn(line)
        if len(lines) > MOST_WARNINGS:
            self.warn(f"and {len(lines) - MOST_WARNINGS:,} more (--json lists all)")

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print a table, in a pipe or file a line per row; silent with --json."""
        if self.as_json:
            return
        # Cells show what foreign files contain, which is no markup.
        table = Table(title=Text(show_path(title), style="table.title"), title_justify="left")
        for column in columns:
            table.add_column(column, overflow="fold")
        for row in rows:
            table.add_row(*(Text(_one_line(show_path(str(cell)))) for cell in row))
        self.out.print(table)

    def result(self, document: Mapping[str, Any]) -> None:
        """Print the command's result as JSON when that was asked for."""
        if self.as_json:
            # A lone surrogate is no text, but may be escaped in JSON.
            click.echo(show_path(json.dumps(document, indent=2, ensure_ascii=False)))


def _one_line(text: str) -> str:
    """Return a text with a space in place of each break of lines."""
    return " ".join(line.strip() for line in text.splitlines())


@contextmanager
def showing_progress(
    output: Output, title: str, total: int, *, noun: str = "sample"
) -> Iterator["ProgressView"]:
    """Show progress: a bar on a terminal, plain lines elsewhere.

    Args:
        output: The command's output; nothing is shown with --json.
        title: What is being built.
        total: Samples to make.
        noun: What is counted, if not samples.
    """
    if sys.stderr.isatty() and not output.as_json:
        bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=output.err,
        )
        with bar:
            view = ProgressView(
                output, title, total, bar, bar.add_task(title, total=total, note=""), noun=noun
            )
            with listening(view.show):
                yield view
        return
    view = ProgressView(output, title, total, None, None, noun=noun)
    with listening(view.show):
        yield view


@dataclass
class ProgressView:
    """Receives the progress events of the steps and draws them."""

    output: Output
    title: str
    total: int
    bar: Progress | None
    task: TaskID | None
    noun: str = "sample"
    done_before: int = 0
    meanwhile: str = ""
    staged_bytes: int = 0
    last_line_s: float = field(default_factory=time.monotonic)
    reclaimed: list[ReclaimReport] = field(default_factory=list)

    @property
    def freed_bytes(self) -> int:
        """Bytes of the sources deleted so far."""
        return sum(done.freed_bytes for done in self.reclaimed)

    def finish_shard(self, num_samples: int, note: str) -> None:
        """Count a finished shard's samples; print a line if there is no bar."""
        self.done_before += num_samples
        self.meanwhile = ""
        self._draw(self.done_before, note, always=True)

    def show(self, event: Event) -> None:
        """Show one event: bytes fetched, in turn or ahead, a sample written, a source file compared or deleted."""
        match event:
            case ShardReclaimed():
                self.reclaimed.append(event.report)
            case SourceDone():
                self._draw(self.done_before, self._describe_source(event))
            case BytesFetched():
                self.staged_bytes += event.num_bytes
                self._draw(self.done_before, f"fetched {format_bytes(self.staged_bytes)}")
            case FetchedAhead():
                self._show_ahead(event)
            case SampleDone():
                note = f"{event.partition_key} {event.key}{self.meanwhile}"
                self._draw(self.done_before + event.done, note)
            case _:
                assert_never(event)

    def _show_ahead(self, event: FetchedAhead) -> None:
        """Show what arrived for a shard before its turn, beside the samples of the one in progress."""
        self.staged_bytes += event.num_bytes
        fetched = f"{format_bytes(event.total_bytes)} of {event.partition_key} fetched ahead"
        self.meanwhile = f"; {fetched}"
        if event.is_waited_for:
            self._draw(self.done_before, f"waiting for files: {fetched}")

    def _describe_source(self, event: SourceDone) -> str:
        freed = format_bytes(self.freed_bytes + event.freed_bytes)
        verb = f"deleted, {freed} freed" if event.freed_bytes else "compared"
        return f"{event.partition_key}: {event.done} of {event.total} sources {verb}"

    def _draw(self, done: int, note: str, *, always: bool = False) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=done, note=note)
            return
        now = time.monotonic()
        if not self.output.as_json and (always or now - self.last_line_s >= _PLAIN_LINE_S):
            self.last_line_s = now
            of = count_words(self.total, self.noun)
            self.output.warn(f"{self.title}: {done} of {of}  {note}")

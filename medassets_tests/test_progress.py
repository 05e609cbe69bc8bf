import io
from typing import get_args

import pytest
from rich.console import Console

from medassets.cli.console import Output, ProgressView, showing_progress
from medassets.progress import (
    BytesFetched,
    Event,
    FetchedAhead,
    SampleDone,
    ShardReclaimed,
    SourceDone,
    listening,
    report,
)
from medassets.reclaim.report import ReclaimReport

REPORT = ReclaimReport("a-000000", confirmed=True)
EVENTS: tuple[Event, ...] = (
    BytesFetched(7),
    FetchedAhead(partition_key="a-000001", num_bytes=5, total_bytes=5, is_waited_for=True),
    SampleDone(partition_key="a-000000", key="x", done=1, total=2, rejected=0, size_bytes=9),
    SourceDone(partition_key="a-000000", done=1, total=2, freed_bytes=0),
    ShardReclaimed(REPORT),
)


def test_an_event_without_a_listener_is_dropped() -> None:
    for event in EVENTS:
        report(event)


def test_events_reach_the_innermost_listener_only() -> None:
    outer: list[Event] = []
    inner: list[Event] = []
    with listening(outer.append):
        with listening(inner.append):
            report(EVENTS[0])
        report(EVENTS[1])
    report(EVENTS[2])
    assert (outer, inner) == ([EVENTS[1]], [EVENTS[0]])


def test_the_terminal_shows_every_sort_of_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medassets.cli.console._PLAIN_LINE_S", 0.0)
    output = Output()
    printed = io.StringIO()
    output.err = Console(file=printed, soft_wrap=True)
    assert {type(event) for event in EVENTS} == set(get_args(Event))
    with showing_progress(output, "tiny", 2) as view:
        for event in EVENTS:
            report(event)
    assert isinstance(view, ProgressView)
    assert view.reclaimed == [REPORT]
    lines = printed.getvalue().splitlines()
    assert lines == [
        "tiny: 0 of 2 samples  fetched 7 B",
        "tiny: 0 of 2 samples  waiting for files: 5 B of a-000001 fetched ahead",
        "tiny: 1 of 2 samples  a-000000 x; 5 B of a-000001 fetched ahead",
        "tiny: 0 of 2 samples  a-000000: 1 of 2 sources compared",
    ]

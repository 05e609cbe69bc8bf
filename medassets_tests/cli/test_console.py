"""What the terminal shows while shards are made."""

import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.cli.console import Output
from medassets_tests.cli.slow_build import SLOW

Declare = Callable[..., Path]


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_its_cursor_back(lungs: Declare) -> None:
    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "build", "lungs", "--split", "valid"],
        stdin=side,
        stdout=side,
        stderr=side,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(side)
    shown = bytearray()
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline:
        if not select.select([main], [], [], 1)[0]:
            continue
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.wait(120) == 0
    text = shown.decode()
    assert "━" in text
    assert "7/7" in text
    assert "valid-000000 valid_1_a_1" in text
    hidden, back = text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h")
    assert 0 <= hidden < back
    assert "lungs: 2 shards built (7 samples" in text[back:]


def test_what_foreign_files_contain_is_neither_markup_nor_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = Output()
    output.say("[/bold] \ud800")
    output.table("[/title] \udfff", ["a"], [["[/cell] \ud800"]])
    Output(as_json=True).result({"text": "\ud800"})
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("[/bold] \\ud800", "[/title] \\udfff", "[/cell] \\ud800"))
    assert '"text": "\\ud800"' in shown


@pytest.mark.parametrize(
    ("count", "more"), [(0, ""), (50, ""), (51, "and 1 more"), (7574, "7,524")]
)
def test_of_many_warnings_the_first_are_printed(
    capsys: pytest.CaptureFixture[str], count: int, more: str
) -> None:
    Output().warn_of([f"shard {number}" for number in range(count)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:50] == [f"shard {number}" for number in range(min(count, 50))]
    assert len(lines) == min(count, 51)
    assert more in "".join(lines[50:])


def test_a_table_has_a_line_per_row_where_no_terminal_shows_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    Output().table(
        "of a title", ["name", "what"], [["one", "word " * 100 + "end"], ["b", "two\nlines"]]
    )
    lines = capsys.readouterr().out.splitlines()
    (first,) = (line for line in lines if " one " in line)
    assert first.count("word") == 100
    assert any("two lines" in line for line in lines)
    assert len(lines) == 7

"""Lines of `status --watch`: one per stage and look, until nothing is left."""

import io
import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from medassets.cli import watching
from medassets.cli.console import Output
from medassets.cli.watching import describe_summary, watch
from medassets.datasets.summary import Summary, Throughput
from medassets.shards.account import Account

LEFT = Summary(
    dataset="lungs",
    stage="shards",
    account=Account(
        items=1220,
        done=1000,
        rejected={"corrupt_gzip": 7, "not_finite": 9, "bad_header": 2, "precision": 2},
        left={"missing": 190, "stale": 10},
    ),
    shards={"done": 100, "missing": 19, "stale": 1},
    throughput=Throughput(400, 200.0),
    free_bytes=5_000_000_000,
)
DONE = replace(
    LEFT, account=Account(items=1220, done=1220), shards={"done": 120}, throughput=Throughput(0, 0)
)


def test_a_line_says_what_is_done_what_is_left_and_when_it_ends() -> None:
    assert describe_summary(LEFT, name_stage=False) == (
        "lungs: 1,000 of 1,200 samples (83.3%), 100 of 120 shards, missing 19, stale 1, rejected 20 "
        "(not_finite 9, corrupt_gzip 7, bad_header 2, …), 2 samples/s, 0:01:40 left, 5.0 GB free"
    )
    assert describe_summary(DONE, name_stage=True) == (
        "lungs/shards: 1,220 of 1,220 samples (100.0%), 120 of 120 shards, 5.0 GB free"
    )
    nothing = replace(DONE, account=Account(), shards={})
    assert describe_summary(nothing, name_stage=False) == (
        "lungs: 0 of 0 samples, 0 of 0 shards, 5.0 GB free"
    )


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_it_looks_again_until_nothing_is_left(
    as_json: bool,
    is_terminal: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(watching.time, "sleep", slept.append)
    looks: list[list[Summary]] = [[LEFT], [LEFT], [DONE]]
    output, shown = Output(as_json), io.StringIO()
    output.out = Console(file=shown, force_terminal=is_terminal, width=400)
    watch(output, lambda: looks.pop(0), interval_s=3.0)
    assert (looks, slept) == ([], [3.0, 3.0])
    printed = capsys.readouterr().out
    if as_json:
        documents: list[dict[str, Any]] = [json.loads(line) for line in printed.splitlines()]
        assert [one["stages"][0]["account"]["left"] for one in documents] == [200, 200, 0]
        assert shown.getvalue() == ""
    else:
        # A terminal draws the last line once more when the display is closed.
        assert shown.getvalue().count("lungs: 1,000 of 1,200 samples") == 2
        assert shown.getvalue().count("lungs: 1,220 of 1,220 samples") == 1 + is_terminal

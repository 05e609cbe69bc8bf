"""Shows again and again how far a dataset is, until nothing is left to do."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import click
from rich.live import Live
from rich.text import Text

from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes, format_seconds
from medassets.datasets.summary import DONE, Summary
from medassets.storage.paths import show_path

_NUM_REASONS = 3


def watch(output: Output, look: Callable[[], Sequence[Summary]], *, interval_s: float) -> None:
    """Print a line per stage at each interval; a terminal shows the last ones only.

    With --json, each look is one line with a JSON document.

    Args:
        output: The command's output.
        look: Reads the state of all stages.
        interval_s: Time between two looks.
    """
    found = look()
    if output.as_json or not output.out.is_terminal:
        while _show_plainly(output, found):
            time.sleep(interval_s)
            found = look()
        return
    with Live(console=output.out, auto_refresh=False) as live:
        while True:
            live.update(Text("\n".join(_describe_all(found))), refresh=True)
            if not _is_left(found):
                return
            time.sleep(interval_s)
            found = look()


def _show_plainly(output: Output, found: Sequence[Summary]) -> bool:
    """Print one look; return whether anything is left to do."""
    if output.as_json:
        document = {"time": _now(), "stages": [one.as_dict() for one in found]}
        click.echo(show_path(json.dumps(document, ensure_ascii=False)))
    for line in [] if output.as_json else _describe_all(found):
        output.out.print(line, markup=False)
    return _is_left(found)


def _is_left(found: Sequence[Summary]) -> bool:
    return any(one.account.num_left for one in found)


def _describe_all(found: Sequence[Summary]) -> list[str]:
    names = len(found) > 1
    return [f"{_now()}  {describe_summary(one, name_stage=names)}" for one in found]


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def describe_summary(found: Summary, *, name_stage: bool) -> str:
    """Return one line: what is done, what is not and why, how fast it goes, and the room left.

    Args:
        found: The stage.
        name_stage: Name the stage beside the dataset.
    """
    account, rate, left = found.account, found.throughput.samples_per_s, found.seconds_left
    planned = account.done + account.num_left
    share = f" ({account.done / planned:.1%})" if planned else ""
    shards = count_words(found.num_shards, "shard")
    parts = [
        f"{account.done:,} of {count_words(planned, 'sample')}{share}",
        f"{found.shards.get(DONE, 0):,} of {shards}",
        *(f"{state} {n:,}" for state, n in sorted(found.shards.items()) if state != DONE),
        *_describe_reasons("rejected", account.rejected),
        *_describe_reasons("excluded", account.excluded),
        f"{rate:.3g} samples/s" if rate is not None else "",
        f"{format_seconds(left)} left" if left else "",
        f"{format_bytes(found.free_bytes)} free",
    ]
    name = f"{found.dataset}/{found.stage}" if name_stage else found.dataset
    return f"{name}: {', '.join(part for part in parts if part)}"


def _describe_reasons(word: str, reasons: Mapping[str, int]) -> list[str]:
    counts = sorted(reasons.items(), key=lambda one: -one[1])
    if not counts:
        return []
    first = ", ".join(f"{reason} {n:,}" for reason, n in counts[:_NUM_REASONS])
    more = ", …" * (len(counts) > _NUM_REASONS)
    return [f"{word} {sum(n for _, n in counts):,} ({first}{more})"]

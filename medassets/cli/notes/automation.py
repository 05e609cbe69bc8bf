"""Tells whether a dataset is automated, what is tried again, and what automation waits for."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from medassets.cli.formatting import count_words
from medassets.datasets.automation.attempts import Attempts, AttemptsLog, Tries
from medassets.datasets.automation.switch import Switch, read_switch
from medassets.datasets.workspace import Workspace

_MOST_LINES = 20


def describe_automation(workspace: Workspace) -> tuple[list[str], dict[str, Any]]:
    """Return lines for a person about a dataset's automation, and the same for a program.

    Args:
        workspace: The dataset.

    Raises:
        UsageError: If the file of the command's word cannot be used.
        ForeignFileError: If the file of the tries is not a journal of this package.
    """
    switch = read_switch(workspace.kind.spec, workspace.paths)
    attempts = AttemptsLog(workspace.paths).read() if switch.is_on else Attempts()
    failed = {item: tries for item, tries in attempts.tries.items() if _is_told(tries)}
    document = {
        "on": switch.is_on,
        "declared": switch.declared,
        "by_command": switch.override,
        "waits_for": asdict(attempts.away) if attempts.away is not None else None,
        "tries": {item: asdict(tries) for item, tries in failed.items()},
    }
    return list(_describe(switch, attempts, failed)), document


def _is_told(tries: Tries) -> bool:
    """Return whether a person wants to know of it: one try that began is one that runs."""
    return bool(tries.error) or tries.begun > 1


def _describe(switch: Switch, attempts: Attempts, failed: dict[str, Tries]) -> Iterator[str]:
    if switch.is_on or switch.override is not None:
        yield f"automation: {switch.describe()}"
    if (away := attempts.away) is not None:
        yield (
            f"all shards wait since {_format_time(away.since)}, looked at "
            f"{count_words(away.looks, 'time')}, next at {_format_time(away.next_at)}: {away.error}"
        )
    listed = sorted(failed.items(), key=lambda entry: (entry[1].next_at is None, entry[0]))
    for item, tries in listed[:_MOST_LINES]:
        if attempts.away is None or tries.failures:
            yield f"{item}: {_describe_tries(tries)}"
    if len(listed) > _MOST_LINES:
        yield f"and {len(listed) - _MOST_LINES} more (--json lists all)"


def _describe_tries(tries: Tries) -> str:
    if tries.begun:
        what = f"its process was killed {count_words(tries.begun, 'time')} in a row"
    else:
        what = f"failed {count_words(tries.failures, 'time')} ({tries.error})"
    if tries.next_at is None:
        return f"{what}, left as failed until its inputs change or you make it"
    return f"{what}, tried again from {_format_time(tries.next_at)} on"


def _format_time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))

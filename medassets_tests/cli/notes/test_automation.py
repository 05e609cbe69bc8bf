"""What commands say of automation: what is tried again and when, and what all shards wait for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from medassets.datasets.automation.attempts import AttemptsLog
from medassets.storage.paths import DatasetPaths

Medassets = Callable[..., Any]
Declare = Callable[..., Path]
NOW = 1_800_000_000.0


def test_status_says_what_automation_waits_for_before_there_is_a_plan(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    lungs(automation="on")
    log = AttemptsLog(DatasetPaths(home / "data", "lungs"))
    log.note_failure("shards/train-000000", "a", "bad files", run="r", now=NOW)
    for _ in range(4):
        log.note_failure("shards/train-000001", "a", "worse", run="r", now=NOW)
    for run in ("r", "s"):
        log.note_begin("shards/train-000002", "a", run=run, now=NOW)
    log.note_begin("shards/train-000003", "a", run="t", now=NOW)
    ran = medassets("status", "lungs")
    assert ran.out.splitlines()[1:] == [
        "automation: on (declared)",
        "shards/train-000000: failed 1 time (bad files), tried again from 2027-01-15 08:10:00 UTC on",
        "shards/train-000002: its process was killed 2 times in a row, tried again from "
        "2027-01-15 08:10:00 UTC on",
        "shards/train-000001: failed 4 times (worse), left as failed until its inputs change or "
        "you make it",
    ]
    log.note_away("catalog", "", "no answer", run="r", now=NOW)
    ran = medassets("status", "lungs")
    assert ran.out.splitlines()[2] == (
        "all shards wait since 2027-01-15 08:00:00 UTC, looked at 1 time, next at "
        "2027-01-15 08:02:00 UTC: no answer"
    )
    document = medassets("status", "lungs", "--json").document["automation"]
    assert document["waits_for"]["error"] == "no answer"
    assert set(document["tries"]) == {"catalog", *(f"shards/train-00000{i}" for i in range(3))}

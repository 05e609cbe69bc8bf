"""The log of a build: what happened to which shard, and no file of anybody else removed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli import build_log
from medassets.cli.build_log import open_build_log

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_build_notes_its_shards_and_how_it_ended(
    medassets: Medassets, built: Path, home: Path
) -> None:
    (path,) = sorted((home / "logs" / "lungs").iterdir())
    begin, *events, end = read(path)
    assert (begin["event"], begin["dataset"]) == ("begin", "lungs")
    assert begin["options"]["force"] is False
    shards = [event for event in events if event["event"] == "shard_end"]
    begun = [event["partition"] for event in events if event["event"] == "shard_begin"]
    assert [event["partition"] for event in shards] == begun
    assert all(event["ok"] and event["samples"] > 0 and event["seconds"] > 0 for event in shards)
    assert (end["event"], end["code"]) == ("end", 0)
    account = end["accounts"]["shards"]
    assert account["done"] == sum(event["samples"] for event in shards)
    (built / "valid/shard-000001.tar").unlink()
    medassets("build", "lungs")
    _, again = sorted((home / "logs" / "lungs").iterdir(), key=lambda one: one.stat().st_mtime_ns)
    made = [event for event in read(again) if event["event"] == "shard_end"]
    assert [(event["partition"], event["adopted"]) for event in made] == [("valid-000001", False)]


def test_old_logs_go_and_other_files_stay(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_log, "NUM_KEPT", 3)
    folder = home / "logs" / "lungs"
    folder.mkdir(parents=True)
    foreign = folder / "build-20200101T000000Z-1.jsonl"
    foreign.write_text("my notes\n")
    (folder / "notes.txt").write_text("mine")
    for day in range(1, 6):
        path = folder / f"build-2021010{day}T000000Z-1.jsonl"
        path.write_text('{"event": "begin", "format": "medassets_build_log"}\n')
    log = open_build_log("lungs", {"force": True})
    log.write("shard_end", path=Path("/a"))
    log.close()
    log.write("after the end")
    assert [event["event"] for event in read(log.path)] == ["begin", "shard_end"]
    assert {path.name for path in folder.iterdir()} == {
        foreign.name,
        "notes.txt",
        "build-20210104T000000Z-1.jsonl",
        "build-20210105T000000Z-1.jsonl",
        log.path.name,
    }
    assert log.path.stat().st_mode & 0o777 == 0o640 & ~_umask()


def test_a_full_disk_ends_the_log_and_not_the_build(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.mkdir(exist_ok=True)
    full = os.open("/dev/full", os.O_WRONLY)
    monkeypatch.setattr(os, "open", lambda *_: full)
    log = open_build_log("lungs", {})
    log.write("shard_end")
    log.close()


def _umask() -> int:
    old = os.umask(0)
    os.umask(old)
    return old


def test_without_a_place_for_logs_a_build_goes_on(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "logs").write_text("a file of the user's")
    log = open_build_log("lungs", {})
    log.write("shard_end")
    log.close()
    assert (home / "logs").read_text() == "a file of the user's"

"""Deleting sources that is stopped: by a full disk, by Ctrl-C, by tables that changed."""

import csv
import errno
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy.exc

from medassets.testing.npz_tree import SyntheticTree
from medassets.volumes.catalog.ct_rate_names import table_paths
from medassets_tests.cli.scans import KEYS, Scans

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
DELETE = ("--delete-sources", "--yes", "--json")


def fill_database(monkeypatch: pytest.MonkeyPatch, *, job: str, after: int) -> None:
    """Let Dagster's database have no room for the runs of a job after the first ones."""
    execute, runs = dg.JobDefinition.execute_in_process, list[str]()

    def refuse(self: dg.JobDefinition, *args: Any, **kwargs: Any) -> Any:
        if self.name == job:
            runs.append(job)
            if len(runs) > after:
                statement = "INSERT"
                full = sqlite3.OperationalError("database or disk is full")
                raise sqlalchemy.exc.OperationalError(statement, {}, full)
        return execute(self, *args, **kwargs)

    monkeypatch.setattr(dg.JobDefinition, "execute_in_process", refuse)


def change_report(tree: SyntheticTree, study: str, words: str) -> None:
    """Give a study other findings in the table of reports."""
    path = tree.folder / table_paths(tree.split).reports
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    for row in rows[1:]:
        if row[0].startswith(study):
            row[rows[0].index("Findings_EN")] = words
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


# --- a full disk


def test_a_build_that_dagster_has_no_room_for_tells_what_it_did_before(
    scans: Scans, medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(scans.shell.home)
    fill_database(monkeypatch, job="scans_build", after=1)
    ran = medassets("build", "scans", *DELETE)
    assert (ran.code, ran.document["exit_code"]) == (4, 4)
    assert "Dagster's database cannot be used" in ran.document["error"]
    assert ran.document["built"] == KEYS[:1]
    deleted = ran.document["reclaimed"]["deleted"]
    assert [Path(path).stem for path in deleted] == sorted(scans.originals.files)[:2]
    last = ran.err.splitlines()[-1]
    assert last.startswith("stopped after 1 shard; 2 sources deleted, ")
    assert "; 3 sources kept (" in last
    assert last.endswith(
        "3 because its shard is not made yet; `medassets build scans --delete-sources` continues "
        "after the last whole sample"
    )
    assert len(scans.left) == 3


def test_a_build_that_could_not_begin_has_only_its_error(
    scans: Scans, medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(scans.shell.home)
    fill_database(monkeypatch, job="scans_catalog", after=0)
    ran = medassets("build", "scans", *DELETE)
    assert (ran.code, set(ran.document)) == (4, {"error", "exit_code"})


def test_a_deletion_that_dagster_has_no_room_for_tells_what_it_did_before(
    scans: Scans, medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_database(monkeypatch, job="scans_reclaim", after=1)
    ran = medassets("reclaim", "scans", *DELETE)
    assert (ran.code, ran.document["exit_code"]) == (4, 4)
    assert "Dagster's database cannot be used" in ran.document["error"]
    deleted = [Path(path).stem for path in ran.document["deleted"]]
    assert deleted == sorted(scans.originals.files)[:2]
    last = ran.err.splitlines()[-1]
    assert last.startswith("stopped after 2 sources deleted, ")
    assert last.endswith("0 sources kept; `medassets reclaim scans --delete-sources` continues")


def test_a_disk_without_room_for_the_note_is_exit_code_4(
    scans: Scans, medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("medassets.storage.journal.write_all", refuse)
    ran = medassets("reclaim", "scans", *DELETE)
    assert ran.code == 4
    assert (ran.document["deleted"], len(scans.left)) == ([], 5)


# --- tables that changed since the shards were made


def test_what_was_corrected_since_is_not_lost_with_the_sources(
    scans: Scans, medassets: Medassets
) -> None:
    change_report(scans.originals.tree, scans.place(2).stem, "corrected by hand")
    ran = medassets("reclaim", "scans", *DELETE)
    assert ran.code == 1
    assert any(line.startswith(f"{KEYS[1]}: ") for line in ran.document["troubles"])
    assert scans.left == [scans.place(2).stem, scans.place(3).stem]
    ran = medassets("build", "scans", *DELETE)
    assert (ran.code, ran.document["built"]) == (0, [KEYS[1]])
    assert scans.left == []
    assert b"corrected by hand" in scans.shard(1).read_bytes()


def test_deleting_plans_nothing_that_a_limit_holds(scans: Scans, medassets: Medassets) -> None:
    shutil.rmtree(scans.shell.home)
    assert medassets("build", "scans", "--limit", "3").code == 0
    ran = medassets("reclaim", "scans", *DELETE)
    assert ran.code == 0, ran.err
    assert len(ran.document["deleted"]) == 3
    samples = medassets("status", "scans", "--json").document["samples"]
    assert samples == {"planned": 3, "held": 2}
    assert medassets("build", "scans").code == 0
    scans.check_volumes()


def test_tables_that_cannot_be_read_stop_the_deletion(scans: Scans, medassets: Medassets) -> None:
    (scans.originals.tree.folder / table_paths("train").reports).write_text("nonsense\n")
    ran = medassets("reclaim", "scans", *DELETE)
    assert (ran.code, ran.document["exit_code"]) == (1, 1)
    assert ran.document["error"].startswith("catalog: ")
    assert ran.err.splitlines()[-1].startswith("stopped after 0 sources deleted, 0 B freed; ")
    assert scans.nothing_deleted()


def test_a_look_refreshes_nothing(scans: Scans, medassets: Medassets) -> None:
    catalog = scans.folder / "catalog.parquet"
    before = catalog.read_bytes()
    change_report(scans.originals.tree, scans.place(2).stem, "corrected by hand")
    assert medassets("reclaim", "scans").code == 0
    assert catalog.read_bytes() == before


# --- rows that are in no shard


# --- Ctrl-C before anything is done

EARLY = """
import os, signal, sys
from medassets.cli.main import run
from medassets.cli.session import Session
run_job = Session.run
def press(self, job, **settings):
    if job == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGINT)
    return run_job(self, job, **settings)
Session.run = press
sys.exit(run(sys.argv[2:]))
"""


@pytest.mark.parametrize("job", ["catalog", "reclaim"])
@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_ctrl_c_before_the_first_deletion_says_that_nothing_is_deleted(
    scans: Scans, command: str, job: str
) -> None:
    ran = scans.shell.run(sys.executable, "-c", EARLY, f"scans_{job}", command, "scans", *DELETE)
    assert ran.returncode == 130, ran.stderr
    last = ran.stderr.splitlines()[-1]
    after = "0 shards; " if command == "build" else ""
    assert last.startswith(f"interrupted after {after}0 sources deleted, 0 B freed; 0 sources kept")
    assert f"`medassets {command} scans --delete-sources` continues" in last
    document = json.loads(ran.stdout)
    assert document["interrupted"] is True
    assert document.get("reclaimed", document)["deleted"] == []
    assert scans.nothing_deleted()

"""The question before sources are deleted, and the lines that say what was kept."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.cli.formatting import format_bytes
from medassets.volumes.catalog.ct_rate_names import table_paths
from medassets_tests.cli.scans import KEYS, Scans

# Everything below runs the command on real files and a real instance.
Medassets = Callable[..., Any]
NO_RECLAIM = "the declaration of scans keeps its sources"


def type_in(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


@pytest.mark.parametrize("typed", ["", "delete\n", "yes\n", "DELETE!\n", "\n"])
@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_another_word_deletes_nothing(
    scans: Scans,
    medassets: Medassets,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    typed: str,
) -> None:
    type_in(typed, monkeypatch)
    ran = medassets(command, "scans", "--delete-sources", "--json")
    assert ran.code == (0 if command == "build" else 1)
    assert "not confirmed" in ran.err
    assert (ran.document.get("reclaimed") or ran.document)["deleted"] == []
    assert scans.nothing_deleted()


@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_the_word_deletes(
    scans: Scans, medassets: Medassets, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    type_in("DELETE\n", monkeypatch)
    num_bytes = sum(scans.place(index).stat().st_size for index in range(5))
    ran = medassets(command, "scans", "--delete-sources")
    assert ran.code == 0, ran.err
    told = f"scans: up to 5 source files, {format_bytes(num_bytes)}, may be deleted: each one"
    assert told in ran.err
    assert "This cannot be undone" in ran.err
    assert "5 sources deleted" in ran.out
    assert ran.out.splitlines()[-1].strip() == "0 sources kept"
    assert (scans.left, scans.green()) == ([], KEYS)
    scans.check_volumes()


def test_a_closed_standard_input_deletes_nothing(scans: Scans) -> None:
    command = f"{sys.executable} -m medassets build scans --delete-sources --json <&-"
    done = scans.shell.run("bash", "-c", command)
    assert done.returncode == 0, done.stderr
    assert "not confirmed" in done.stderr
    assert json.loads(done.stdout)["reclaimed"]["deleted"] == []
    assert scans.nothing_deleted()


def test_yes_alone_deletes_nothing(scans: Scans, medassets: Medassets) -> None:
    for command in ("build", "reclaim"):
        medassets(command, "scans", "--yes")
    assert scans.nothing_deleted()


@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_a_declaration_that_keeps_its_sources_is_refused(
    scans: Scans, medassets: Medassets, command: str
) -> None:
    scans.declare(delete_sources=False)
    ran = medassets(command, "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 2
    assert NO_RECLAIM in ran.document["error"]
    assert scans.nothing_deleted()


def test_rejected_files_stay_and_the_last_line_names_them_every_time(
    scans: Scans, medassets: Medassets
) -> None:
    shutil.rmtree(scans.shell.home)
    bad = [scans.place(index) for index in (0, 3)]
    for place in bad:
        np.savez_compressed(place, data=np.full((5, 7, 11), np.nan, np.float32))
    content = [place.read_bytes() for place in bad]
    for num_deleted in (3, 0):
        ran = medassets("build", "scans", "--delete-sources", "--yes")
        assert ran.code == 0, ran.err
        last = ran.out.splitlines()[-1]
        assert "2 sources kept" in last
        assert all(place.name in last for place in bad)
        assert "2 because a sample of it was rejected" in last
        assert f"{num_deleted} sources deleted" in ran.out
    assert [place.read_bytes() for place in bad] == content
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes", "--json")
    assert {Path(one["path"]).name for one in ran.document["kept"]} == {p.name for p in bad}
    assert scans.green() == KEYS


def test_files_of_a_failed_shard_are_counted_as_kept(scans: Scans, medassets: Medassets) -> None:
    shutil.rmtree(scans.shell.home)
    scans.declare(max_rejected_share=0.0)
    bad = scans.place(0)
    np.savez_compressed(bad, data=np.full((5, 7, 11), np.nan, np.float32))
    ran = medassets("build", "scans", "--delete-sources", "--yes", "--json")
    assert ran.code == 1
    assert len(ran.document["failed"]) == 1
    kept = {one["path"]: one["why"] for one in ran.document["reclaimed"]["kept"]}
    assert {Path(path).stem for path in kept} == {scans.place(0).stem, scans.place(1).stem}
    assert [*kept.values()] == ["its shard failed"] * 2
    ran = medassets("build", "scans", "--delete-sources", "--yes")
    last = ran.out.splitlines()[-1]
    assert "2 sources kept (" in last
    assert "2 because its shard failed" in last
    ran = medassets("reclaim", "scans", "--delete-sources", "--yes")
    assert "2 because its shard is not made yet" in ran.out.splitlines()[-1]


def test_ctrl_c_at_the_question_ends_the_command(scans: Scans) -> None:
    import pty

    main, side = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "medassets", "build", "scans", "--delete-sources"],
        env=scans.shell.environment,
        stdin=side,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    assert "This cannot be undone" in process.stderr.readline()
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    os.close(main)
    os.close(side)
    assert process.returncode == 130, err
    assert scans.nothing_deleted()


@pytest.mark.parametrize("command", ["build", "reclaim"])
def test_files_of_excluded_rows_stay_and_the_last_line_says_so(
    scans: Scans, medassets: Medassets, command: str
) -> None:
    tree = scans.originals.tree
    strangers = [tree.folder / "npz" / name for name in ("train_7_a_1.npz", "a/b/train_8_a_1.npz")]
    for place in strangers:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scans.place(0), place)
    # Of what only the tables know, there is no file that could stay.
    reports = tree.folder / table_paths("train").reports
    reports.write_text(reports.read_text() + "train_9_a_1.nii.gz,,,,\n")
    told = []
    for _ in range(2):
        ran = medassets(command, "scans", "--delete-sources", "--yes")
        assert ran.code == 0, ran.err
        told.append(ran.out.splitlines()[-1].strip())
    line = "0 sources kept; 2 excluded rows were never converted, their files stay (other_depth 2)"
    assert told == [line, line]
    assert all(place.exists() for place in strangers)

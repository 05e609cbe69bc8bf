"""Ctrl-C in the middle of a build, on a real process; and what the terminal shows meanwhile."""

import hashlib
import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

Declare = Callable[..., Path]

# Each sample takes its time, so that a signal surely meets a build at work.
pytestmark = pytest.mark.slow

SLOW = """
import sys, time
import medassets.volumes.samples as samples
from medassets.cli.main import run
encode = samples.encode_volume_sample
def slowly(*args, **kwargs):
    time.sleep(0.4)
    return encode(*args, **kwargs)
samples.encode_volume_sample = slowly
sys.exit(run(sys.argv[1:]))
"""


def digests(folder: Path) -> dict[str, str]:
    tars = sorted(folder.rglob("*.tar"))
    return {p.parent.name + p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in tars}


def wait_for(what: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not what():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_interrupted_build_says_so_and_the_next_one_goes_on(
    lungs: Declare, home: Path, built_home: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW, "build", "lungs", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    data = home / "data" / "lungs"
    ledger = data / "train" / ".shard-000001.ledger"
    wait_for(lambda: ledger.exists() and ledger.stat().st_size > 200, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)

    assert process.returncode == 130
    assert "Traceback" not in err
    assert err.splitlines()[-1] == (
        "interrupted after 1 shard; `medassets build lungs` continues after the last whole sample"
    )
    document = json.loads(out)
    assert document["interrupted"] is True
    assert document["built"] == ["train-000000"]
    assert document["failed"] == {}
    assert not (data / "train/shard-000001.tar").exists()
    assert ledger.exists()

    again = subprocess.run(
        [sys.executable, "-m", "medassets", "build", "lungs", "--json"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(again.stdout)["kept"] == 1
    assert digests(data) == digests(built_home / "data" / "lungs")
    assert not [path for path in data.rglob(".*") if path.is_file()]


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
    deadline = time.monotonic() + 120
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
    assert process.wait(30) == 0
    text = shown.decode()
    assert "━" in text
    assert "7/7" in text
    assert "valid-000000 valid_1_a_1" in text
    hidden, back = text.rfind("\x1b[?25l"), text.rfind("\x1b[?25h")
    assert 0 <= hidden < back
    assert "lungs: 2 shards built (7 samples" in text[back:]


def test_a_killed_build_is_on_record_as_failed_once_the_next_command_looks(
    lungs: Declare, home: Path, tmp_path: Path
) -> None:
    import dagster as dg

    lungs()
    command = [sys.executable, "-c", SLOW, "build", "lungs"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: list(home.glob("data/lungs/*/.*.partial")), process)
    process.kill()
    process.communicate()
    status = [sys.executable, "-m", "medassets", "status", "lungs", "--json"]
    shown = json.loads(subprocess.run(status, capture_output=True, text=True).stdout)
    assert "failed" in shown["counts"]
    with dg.DagsterInstance.from_config(str(home / "dagster")) as instance:
        statuses = {run.status for run in instance.get_runs()}
    assert statuses == {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE}

"""SIGTERM and a terminal that is gone end a command as Ctrl-C does, with its summary."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from medassets_tests.cli.slow_build import SLOW, wait_for

_WAIT = """
import sys, time
from pathlib import Path
from medassets.cli.ending import ending_in_order, interrupted_code
with ending_in_order():
    try:
        Path(sys.argv[1]).touch()
        time.sleep(60)
    except KeyboardInterrupt:
        print("the terminal may be gone", flush=True)
        Path(sys.argv[1]).write_text(f"summary, {interrupted_code()}")
"""
_BUILD = SLOW.replace("sys.exit(run(sys.argv[1:]))", "from medassets.cli.main import main; main()")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 130), (signal.SIGHUP, 129)], ids=["TERM", "HUP"]
)
def test_a_signal_unwinds_the_command(number: int, code: int, tmp_path: Path) -> None:
    note = tmp_path / "note"
    process = subprocess.Popen(
        [sys.executable, "-c", _WAIT, str(note)], stdout=subprocess.PIPE, text=True
    )
    wait_for(note.exists, process)
    process.send_signal(number)
    assert process.communicate(timeout=30)[0] == "the terminal may be gone\n"
    assert note.read_text() == f"summary, {code}"


def test_a_command_whose_terminal_is_gone_writes_to_it_without_an_error(tmp_path: Path) -> None:
    note = tmp_path / "note"
    process, terminal = start_in_terminal("-c", _WAIT, str(note))
    wait_for(note.exists, process)
    os.close(terminal)
    assert process.wait(120) == 0
    assert note.read_text() == "summary, 129"


def test_a_command_that_ignores_the_end_of_its_session_goes_on(tmp_path: Path) -> None:
    note = tmp_path / "note"
    process = subprocess.Popen(["nohup", sys.executable, "-c", _WAIT, str(note)], text=True)
    wait_for(note.exists, process)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == 0
    assert note.read_text() == "summary, 130"


@pytest.mark.slow
@pytest.mark.usefixtures("lungs")
def test_a_build_whose_session_ends_says_so_and_exits_129(home: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", _BUILD, "build", "lungs", "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    ledger = home / "data" / "lungs" / "train" / ".shard-000001.ledger"
    wait_for(lambda: ledger.exists() and ledger.stat().st_size > 200, process)
    process.send_signal(signal.SIGHUP)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 129
    assert json.loads(out)["interrupted"]
    assert "Traceback" not in err


def start_in_terminal(*arguments: str) -> tuple[subprocess.Popen[str], int]:
    """Start a Python process in a session with a terminal of its own; closing that hangs up."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    return process, ours

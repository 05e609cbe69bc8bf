"""Whatever becomes of a run, its decoder processes end with it, and a wait can be given up."""

import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import psutil
import pytest

from medassets_tests.video.decoder_processes import all_end_soon, reads_fifo

START = """
    import os, signal, sys, threading, time
    from pathlib import Path
    from medassets.video.processes.pool import DecoderPool
    from medassets.video.requests import FrameRequest
    from medassets.video.timeline import Segment
    short_video, fifo = Path(sys.argv[1]), Path(sys.argv[2])
    request = FrameRequest(16, 512, 160, 256, 1, 500)
    pool = DecoderPool("cpu", num_workers=2)
    pool.probe(short_video)
    def hang():
        try:
            pool.decode(fifo, [Segment(0, None)], request)
        except Exception as error:
            print(type(error).__name__, flush=True)
    """


def start_script(script: str, *arguments: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(START) + textwrap.dedent(script),
            *map(str, arguments),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_pids(process: "subprocess.Popen[str]") -> list[int]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("["), process.stderr.read() if process.stderr else ""
    return [int(pid) for pid in line.strip("[]()\n").replace(",", " ").split()]


def test_processes_die_with_a_killed_parent_idle_or_hanging(short_video: Path, fifo: Path) -> None:
    script = """
    threading.Thread(target=hang, daemon=True).start()
    pool.probe(short_video)
    while len(pool.pids) < 2: time.sleep(0.02)
    time.sleep(0.3)
    print(list(pool.pids), flush=True)
    time.sleep(60)
    """
    with start_script(script, short_video, fifo) as process:
        pids = read_pids(process)
        assert len(pids) == 2
        assert all(psutil.pid_exists(pid) for pid in pids)
        process.kill()
        assert all_end_soon(pids)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("raise RuntimeError", 1),
        ("os._exit(4)", 4),
        ("os.kill(os.getpid(), signal.SIGTERM)", -15),
    ],
)
def test_processes_end_with_the_interpreter_without_close(
    short_video: Path, fifo: Path, end: str, status: int
) -> None:
    script = f"""
    threading.Thread(target=hang, daemon=True).start()
    while len(pool.pids) < 1: time.sleep(0.02)
    time.sleep(0.3)
    print(list(pool.pids), flush=True)
    {end}
    """
    with start_script(script, short_video, fifo) as process:
        pids = read_pids(process)
        assert process.wait(20) == status
        assert all_end_soon(pids)


def test_a_forked_copy_of_the_pool_does_not_touch_its_processes(
    short_video: Path, fifo: Path
) -> None:
    script = """
    pids = pool.pids
    threading.Thread(target=hang, daemon=True).start()
    time.sleep(0.3)
    start = time.monotonic()
    child = os.fork()
    if not child:
        raise SystemExit(0)
    os.waitpid(child, 0)
    # The copy has nobody at work to wait for.
    assert time.monotonic() - start < 5
    pool.probe(short_video)
    print(set(pids) < set(pool.pids), flush=True)
    """
    with start_script(script, short_video, fifo) as process:
        out, err = process.communicate(timeout=60)
    assert out.splitlines()[0] == "True", err
    assert process.returncode == 0


def test_ctrl_c_while_waiting_leaves_the_pool_in_order(short_video: Path, fifo: Path) -> None:
    script = """
    print(list(pool.pids), flush=True)
    try:
        pool.decode(fifo, [Segment(0, None)], request)
    except KeyboardInterrupt:
        print("interrupted", len(pool.pids), flush=True)
    print(len(pool.decode(short_video, [Segment(0, 1000)] * 3, request)), flush=True)
    pool.close()
    """
    with start_script(script, short_video, fifo) as process:
        (pid,) = read_pids(process)
        deadline = time.monotonic() + 20
        while not reads_fifo(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert out.split() == ["interrupted", "0", "3"], err
    assert process.returncode == 0
    assert all_end_soon([pid])

"""The decoder process by itself: it starts light, keeps its answers clean, and ends with its input."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.processes.messages import Message, encode_message, read_message
from medassets.video.requests import FrameRequest


@contextmanager
def start_worker(parent: int | None = None) -> "Iterator[subprocess.Popen[bytes]]":
    command = [sys.executable, "-m", "medassets.video.processes.worker", str(parent or os.getpid())]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        yield process
        process.kill()


def answer(process: "subprocess.Popen[bytes]") -> Message:
    assert process.stdout is not None
    stdout = process.stdout

    def fill(view: memoryview) -> None:
        data = stdout.read(len(view))
        if len(data) < len(view):
            raise EOFError
        view[:] = data

    return read_message(fill)


def ask(process: "subprocess.Popen[bytes]", **request: object) -> None:
    assert process.stdin is not None
    process.stdin.write(b"".join(encode_message({"beat_s": 1.0, **request})))
    process.stdin.flush()


def test_a_worker_answers_until_its_input_ends(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.avi", VideoRecipe(codec="mpeg4", num_frames=5)).path
    with start_worker() as worker:
        assert answer(worker).header == {"kind": "ready"}
        for _ in range(2):
            ask(worker, call="probe", path=str(video))
            assert answer(worker).header["value"]["codec"] == "mpeg4"
        ask(worker, call="probe", path=str(tmp_path / "none.mp4"))
        assert answer(worker).header["reason"] == "missing_source"
        out, err = worker.communicate(timeout=10)
    assert (worker.returncode, out, err) == (0, b"", b"")


def test_a_worker_whose_parent_is_gone_already_ends_at_once() -> None:
    with start_worker(parent=1) as worker:
        out, err = worker.communicate(timeout=10)
    assert (worker.returncode, out, err) == (0, b"", b"")


def test_a_worker_says_that_it_lives_while_it_decodes(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.avi", VideoRecipe(codec="mpeg4", num_frames=500)).path
    request = asdict(FrameRequest(1, 1, 16, 16, 1, 0))
    segments = [[0, None]]
    with start_worker() as worker:
        answer(worker)
        ask(
            worker, call="decode", path=str(video), segments=segments, request=request,
            device="cpu", beat_s=0.001,
        )  # fmt: skip
        kinds = [answer(worker).header["kind"]]
        while kinds[-1] != "done":
            kinds.append(answer(worker).header["kind"])
    assert kinds[-2:] == ["clip", "done"]
    # A packet may come before the first millisecond is over; most come after.
    assert kinds.count("alive") > 5


def test_what_a_library_prints_does_not_get_between_the_answers() -> None:
    code = """
import os, sys
import medassets.video.processes.worker as worker
worker._CALLS["chat"] = lambda request, answers: os.system("echo from C") or print("from Python")
worker.main([str(os.getppid())])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert answer(process).header == {"kind": "ready"}
        ask(process, call="chat")
        assert answer(process).header["kind"] == "done"
        out, err = process.communicate(timeout=10)
    assert out == b""
    assert b"from C" in err
    assert b"from Python" in err


def test_a_worker_imports_only_what_it_needs(tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.avi", VideoRecipe(codec="mpeg4", num_frames=5)).path
    code = f"""
import sys
from pathlib import Path
import medassets.video.processes.worker
from medassets.video.frames.decoding import FrameRequest, Segment, decode_segments
list(decode_segments(Path({str(video)!r}), [Segment(0, None)], FrameRequest(1, 1, 16, 16, 1, 0)))
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"dagster", "torch", "pyarrow", "pandas", "numba", "PIL", "huggingface_hub", "asyncio"}
    assert not heavy & set(done.stdout.split())
    assert "av" in done.stdout.split()


@pytest.mark.parametrize(
    "module", ["medassets.video.processes.pool", "medassets.resources.video_decoder"]
)
def test_the_side_of_the_run_imports_no_codecs(module: str) -> None:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"av", "torch", "pyarrow"} & set(done.stdout.split())


def test_a_worker_is_ready_soon() -> None:
    times = []
    for _ in range(3):
        start = time.monotonic()
        with start_worker() as worker:
            answer(worker)
            times.append(time.monotonic() - start)
    # 0.15 s on a quiet machine; dagster alone would take four times as long.
    assert min(times) < 1.0

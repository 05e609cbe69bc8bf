"""A decoder process that hangs, dies or answers nonsense, and one that is given up half-way.

The process here follows a script instead of decoding, so that each trouble comes at a known moment;
`test_pool.py` has the real one.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medassets.errors import DecoderLostError, DecoderUnavailableError, Reason, SampleRejectedError
from medassets.video.processes.messages import Message
from medassets.video.processes.process import DecoderProcess, Starter

SCRIPT = """
import os, signal, sys, time
from medassets.video.processes.messages import encode_message, read_message

def fill(view):
    while len(view):
        count = os.readv(0, [view])
        if not count:
            sys.exit()
        view = view[count:]

def say(**header):
    os.write(1, b"".join(encode_message(header)))

say(kind="ready")
while True:
    exec(read_message(fill).header["script"])
"""

FOLLOWING = "import ctypes; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)"
"""PR_SET_PDEATHSIG: the kernel means the thread that started the process."""

Make = Callable[..., DecoderProcess]


@pytest.fixture
def make() -> Iterator[Make]:
    """Return a function that makes a process of a script."""
    starter, made = Starter(), []

    def make_it(script: str = SCRIPT, timeout_s: float = 20.0) -> DecoderProcess:
        made.append(DecoderProcess(starter, timeout_s, [sys.executable, "-c", script]))
        return made[-1]

    yield make_it
    starter.close()
    for process in made:
        process.end()


def run(process: DecoderProcess, script: str) -> tuple[list[int], object]:
    taken: list[Message] = []
    value = process.call({"script": script}, taken.append)
    return [message.header["n"] for message in taken], value


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_a_process_starts_with_its_first_call_and_stays(make: Make) -> None:
    process = make()
    assert process.pid is None
    first = run(process, "say(kind='clip', n=1); say(kind='done', value=os.getpid())")
    assert first == ([1], process.pid)
    assert run(process, "say(kind='done', value=os.getpid())") == ([], process.pid)


def test_a_process_is_replaced_before_it_has_grown_large(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.video.processes.process._MOST_CALLS", 3)
    process = make()
    pids = [run(process, "say(kind='done', value=os.getpid())")[1] for _ in range(7)]
    assert len(set(pids)) == 3
    assert pids[0] == pids[2] != pids[3] == pids[5] != pids[6]


def test_an_error_over_there_is_raised_here_and_the_process_stays(make: Make) -> None:
    process = make()
    run(process, "say(kind='done')")
    pid = process.pid
    with pytest.raises(SampleRejectedError, match="why"):
        run(process, "say(kind='error', type='X', text='', reason='too_short', detail='why')")
    run(process, "say(kind='done')")
    assert process.pid == pid


def test_silence_ends_the_process_after_what_it_said_was_taken(make: Make) -> None:
    process, taken = make(timeout_s=0.4), []
    run(process, "say(kind='done')")
    pid, start = process.pid, time.monotonic()
    assert pid is not None
    with pytest.raises(DecoderLostError, match=r"did not respond for 0\.4 s") as caught:
        process.call({"script": "say(kind='clip', n=1); time.sleep(60)"}, taken.append)
    assert 0.4 <= time.monotonic() - start < 3
    assert caught.value.reason is Reason.DECODER_TIMEOUT
    assert [message.header["n"] for message in taken] == [1]
    assert is_gone(pid)
    assert run(process, "say(kind='done', value=7)") == ([], 7)


def test_a_stopped_process_is_found_out_in_the_middle_of_a_message(make: Make) -> None:
    process = make(timeout_s=0.4)
    with pytest.raises(DecoderLostError, match="did not respond"):
        run(process, "os.write(1, b'mda1'); os.kill(os.getpid(), signal.SIGSTOP)")
    assert process.pid is None


def test_a_large_request_to_a_stopped_process_times_out(make: Make) -> None:
    process = make(timeout_s=0.4)
    run(process, "say(kind='done')")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    with pytest.raises(DecoderLostError, match="did not respond"):
        process.call({"script": "#" * 4_000_000}, lambda _: None)


def test_progress_resets_the_timeout(make: Make) -> None:
    script = """
for i in range(12):
    time.sleep(0.1)
    say(kind='alive')
say(kind='done', value=3)
"""
    assert run(make(timeout_s=0.8), script) == ([], 3)


@pytest.mark.parametrize(
    ("script", "detail", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "was terminated by SIGSEGV", Reason.DECODE_FAILED),
        ("os.abort()", "was terminated by SIGABRT", Reason.DECODE_FAILED),
        (
            "os.kill(os.getpid(), signal.SIGKILL)",
            "was terminated by SIGKILL",
            Reason.DECODER_KILLED,
        ),
        ("os._exit(3)", "exited with status 3", Reason.DECODE_FAILED),
        (
            "raise MemoryError",
            r"exited with status 1 \(MemoryError\)",
            Reason.DECODE_FAILED,
        ),
        (
            "raise ValueError('x: y')",
            r"exited with status 1 \(ValueError\)",
            Reason.DECODE_FAILED,
        ),
        ("os.write(1, b'Bus error: 10' * 9)", "sent an invalid response", Reason.DECODE_FAILED),
        ("os.close(1); time.sleep(60)", "closed its output", Reason.DECODE_FAILED),
    ],
)
def test_a_death_is_named(
    make: Make, monkeypatch: pytest.MonkeyPatch, script: str, detail: str, reason: Reason
) -> None:
    monkeypatch.setattr("medassets.video.processes.process._REAP_TIMEOUT_S", 0.5)
    process = make()
    with pytest.raises(DecoderLostError, match=detail) as caught:
        run(process, script)
    assert caught.value.reason is reason
    assert run(process, "say(kind='done', value=7)") == ([], 7)


def test_a_process_that_died_between_calls_is_replaced_in_silence(make: Make) -> None:
    process = make()
    run(process, "say(kind='done')")
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSEGV)
    time.sleep(0.2)
    assert run(process, "say(kind='done', value=7)") == ([], 7)


def test_a_process_that_cannot_start_says_why(make: Make) -> None:
    with pytest.raises(DecoderUnavailableError, match="does not start: No module named 'av'"):
        run(make("import sys; sys.exit(\"No module named 'av'\")"), "")
    with pytest.raises(DecoderUnavailableError, match="does not start: it printed no message"):
        run(make("print('hello, this is no message')"), "")


def test_a_call_given_up_half_way_leaves_no_answer_behind(make: Make) -> None:
    process = make()
    with pytest.raises(KeyboardInterrupt):
        process.call({"script": "say(kind='clip', n=1); say(kind='done', value=1)"}, _interrupt)
    assert process.pid is None
    assert run(process, "say(kind='done', value=2)") == ([], 2)


def _interrupt(_: Message) -> None:
    raise KeyboardInterrupt


def test_a_process_interrupted_under_its_caller_is_no_verdict_on_the_video(make: Make) -> None:
    process = make()
    run(process, "say(kind='done')")
    timer = threading.Timer(0.2, process.interrupt)
    timer.start()
    with pytest.raises(DecoderUnavailableError, match="closed during a call"):
        run(process, "time.sleep(60)")
    timer.join()
    with pytest.raises(DecoderUnavailableError, match="closed during a call"):
        run(process, "say(kind='done')")


def test_a_process_interrupted_while_it_starts_is_not_waited_for(make: Make) -> None:
    process = make("import time; time.sleep(60)")
    timer = threading.Timer(0.3, process.interrupt)
    timer.start()
    with pytest.raises(DecoderUnavailableError, match="closed during a call"):
        run(process, "")
    timer.join()
    assert process.pid is None


def test_a_process_outlives_the_thread_that_first_called_it(make: Make) -> None:
    process = make(FOLLOWING + SCRIPT)
    thread = threading.Thread(target=run, args=(process, "say(kind='done')"))
    thread.start()
    thread.join()
    pid = process.pid
    time.sleep(0.2)
    assert run(process, "say(kind='done', value=os.getpid())") == ([], pid)


def test_a_process_killed_while_it_starts_is_started_again(make: Make, tmp_path: Path) -> None:
    die = "import os, pathlib\nmark = pathlib.Path({!r})\n" + (
        "if not mark.exists(): mark.touch(); os.kill(os.getpid(), 9)\n"
    )
    process = make(die.format(str(tmp_path / "died")) + SCRIPT)
    assert run(process, "say(kind='done', value=7)") == ([], 7)
    with pytest.raises(DecoderUnavailableError, match="does not start"):
        run(make("import os; os.kill(os.getpid(), 9)"), "")

"""Calls to a decoder process: what is kept, repeated and rejected when it is lost."""

import os
import signal
from pathlib import Path

import psutil
import pytest

import medassets.video.processes.tasks
from medassets.errors import Reason
from medassets.video.files.probe import probe_video
from medassets.video.frames.decoding import decode_segments
from medassets.video.processes.messages import Message, Outcome, decode_outcome
from medassets.video.processes.pool import DecoderPool
from medassets.video.timeline import Segment
from medassets_tests.video.contract import REQUEST, reasons
from medassets_tests.video.decoder_processes import assert_same, submit, wait_for_worker

SEGMENTS = [Segment(0, 1000), Segment(500, 2000), Segment(1500, 60_000), Segment(200, None)]


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (signal.SIGSTOP, [None, Reason.DECODER_TIMEOUT]),
        (signal.SIGSEGV, [None, Reason.DECODE_FAILED]),
        (signal.SIGKILL, [None, None]),
    ],
)
def test_what_was_answered_before_the_end_of_a_process_is_kept(
    short_video: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    expected: list[Reason | None],
) -> None:
    with DecoderPool("cpu", num_workers=1, timeout_s=1.0) as pool:
        pool.probe(short_video)
        (pid,) = pool.pids

        def signal_after_first(message: Message) -> Outcome:
            # The second answer is larger than the pipe: it cannot have been sent before this.
            if psutil.pid_exists(pid):
                os.kill(pid, number)
            return decode_outcome(message)

        monkeypatch.setattr(medassets.video.processes.tasks, "decode_outcome", signal_after_first)
        got = pool.decode(short_video, SEGMENTS[:2], REQUEST)
        assert reasons(got) == expected
        assert not psutil.pid_exists(pid)
        direct = list(decode_segments(short_video, SEGMENTS[:2], REQUEST))
        assert_same([o for o in got if reasons([o]) == [None]], direct[: reasons(got).count(None)])


def test_a_process_killed_once_is_not_held_against_its_video(
    pool: DecoderPool, short_video: Path, fifo: Path
) -> None:
    decoding = submit(pool.decode, fifo, SEGMENTS, REQUEST)
    pid = wait_for_worker(pool)
    (fifo.parent / "good.mp4").write_bytes(short_video.read_bytes())
    (fifo.parent / "good.mp4").replace(fifo)
    os.kill(pid, signal.SIGKILL)
    assert_same(decoding.result(), list(decode_segments(short_video, SEGMENTS, REQUEST)))


def test_a_video_whose_process_is_killed_twice_is_rejected(
    pool: DecoderPool, short_video: Path, fifo: Path
) -> None:
    decoding = submit(pool.decode, fifo, SEGMENTS, REQUEST)
    first = wait_for_worker(pool)
    os.kill(first, signal.SIGKILL)
    os.kill(wait_for_worker(pool, others=[first]), signal.SIGKILL)
    got = decoding.result()
    assert reasons(got) == [Reason.DECODER_KILLED] * 4
    assert "SIGKILL" in str(got[0])
    assert pool.probe(short_video) == probe_video(short_video)

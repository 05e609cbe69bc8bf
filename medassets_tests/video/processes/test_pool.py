"""Real decoder processes: correct results, whatever happens to other videos and processes."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from medassets.errors import DecoderUnavailableError, Reason, SampleRejectedError, SpecError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.clips.plan import ClipEncoding, ClipFacts
from medassets.video.clips.writer import write_clip
from medassets.video.files.probe import probe_video
from medassets.video.frames.decoding import decode_segments
from medassets.video.processes.messages import Outcome
from medassets.video.processes.pool import DecoderPool
from medassets.video.timeline import Segment
from medassets_tests import shared_data
from medassets_tests.video.contract import REQUEST, Decode, DecoderContract, reasons
from medassets_tests.video.decoder_processes import all_gone, assert_same, submit, wait_for_worker

SEGMENTS = [Segment(0, 1000), Segment(500, 2000), Segment(1500, 60_000), Segment(200, None)]
REAL = shared_data.VIDEO


class TestDecoderProcesses(DecoderContract):
    @pytest.fixture(scope="class")
    @classmethod
    def decode(cls) -> Iterator[Decode]:
        with DecoderPool("cpu", num_workers=2) as pool:
            yield pool.decode


def test_a_probe_is_that_of_the_function(
    pool: DecoderPool, short_video: Path, tmp_path: Path
) -> None:
    assert pool.probe(short_video) == probe_video(short_video)
    (tmp_path / "text.mp4").write_text("no video at all")
    with pytest.raises(SampleRejectedError, match="decode_failed"):
        pool.probe(tmp_path / "text.mp4")


@pytest.mark.skipif(not REAL.is_dir(), reason="the folder of real videos is not there")
def test_real_videos_with_their_traps_come_out_as_from_the_function(pool: DecoderPool) -> None:
    segments = [Segment(0, 400), Segment(200, 3000)]
    for path in sorted(REAL.iterdir()):
        expected = list(decode_segments(path, segments, REQUEST))
        assert_same(pool.decode(path, segments, REQUEST), expected)


def test_a_clip_is_made_as_by_the_function(
    pool: DecoderPool, short_video: Path, tmp_path: Path
) -> None:
    direct = write_clip(short_video, SEGMENTS[0], ClipEncoding(), tmp_path / "direct.mp4")
    facts = pool.write_clip(short_video, SEGMENTS[0], ClipEncoding(), tmp_path / "pool.mp4")
    assert isinstance(facts, ClipFacts)
    assert facts == direct
    assert (tmp_path / "pool.mp4").read_bytes() == (tmp_path / "direct.mp4").read_bytes()


def test_a_relative_path_is_that_of_the_caller(
    pool: DecoderPool, short_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool.probe(short_video)
    monkeypatch.chdir(short_video.parent)
    assert pool.probe(Path(short_video.name)) == probe_video(short_video)


def test_many_threads_share_few_processes(short_video: Path, tmp_path: Path) -> None:
    other = make_video(tmp_path / "b.avi", VideoRecipe(codec="mpeg4", num_frames=40)).path
    videos = [short_video, other, short_video.with_name("missing.mp4")]
    expected = {path: list(decode_segments(path, SEGMENTS, REQUEST)) for path in videos}
    seen: set[int] = set()
    with DecoderPool("cpu", num_workers=2) as pool, ThreadPoolExecutor(8) as threads:

        def decode(path: Path) -> list[Outcome]:
            outcomes = pool.decode(path, SEGMENTS, REQUEST)
            seen.update(pool.pids)
            return outcomes

        for path, got in zip(videos * 8, threads.map(decode, videos * 8), strict=True):
            assert_same(got, expected[path])
        assert pool.num_slots == 2
    assert len(seen) == 2


def test_one_thread_starts_one_process(short_video: Path) -> None:
    with DecoderPool("cpu", num_workers=4) as pool:
        assert pool.pids == ()
        for _ in range(3):
            pool.probe(short_video)
        assert len(pool.pids) == 1


def test_a_hang_costs_its_video_and_no_other(short_video: Path, fifo: Path) -> None:
    expected = list(decode_segments(short_video, SEGMENTS, REQUEST))
    with DecoderPool("cpu", num_workers=2, timeout_s=1.5) as pool:
        pool.probe(short_video)
        start = time.monotonic()
        hanging = submit(pool.decode, fifo, SEGMENTS, REQUEST)
        stuck = wait_for_worker(pool)
        assert_same(pool.decode(short_video, SEGMENTS, REQUEST), expected)
        assert reasons(hanging.result()) == [Reason.DECODER_TIMEOUT] * 4
        assert 1.5 <= time.monotonic() - start < 10
        assert not psutil.pid_exists(stuck)
        assert_same(pool.decode(short_video, SEGMENTS, REQUEST), expected)
        with pytest.raises(SampleRejectedError, match=r"did not respond for 1\.5 s"):
            pool.probe(fifo)


def test_a_clip_left_by_a_lost_process_is_removed(
    short_video: Path, fifo: Path, tmp_path: Path
) -> None:
    target = tmp_path / "clips" / "clip.mp4"
    with DecoderPool("cpu", num_workers=1, timeout_s=1.0) as pool:
        with pytest.raises(SampleRejectedError, match="decoder_timeout"):
            pool.write_clip(fifo, SEGMENTS[0], ClipEncoding(), target)
        assert list(target.parent.iterdir()) == []
        pool.write_clip(short_video, SEGMENTS[0], ClipEncoding(), target)
        assert list(target.parent.iterdir()) == [target]


def test_a_process_leaves_the_end_to_its_parent(pool: DecoderPool, short_video: Path) -> None:
    pool.probe(short_video)
    pids = pool.pids
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(pids[0], number)
    time.sleep(0.1)
    pool.probe(short_video)
    assert pool.pids == pids


def test_closing_ends_what_is_at_work_and_blames_no_video(fifo: Path) -> None:
    pool = DecoderPool("cpu", num_workers=1)
    working = submit(pool.decode, fifo, SEGMENTS, REQUEST)
    waiting = submit(pool.decode, fifo, SEGMENTS, REQUEST)
    pid = wait_for_worker(pool)
    start = time.monotonic()
    pool.close()
    assert time.monotonic() - start < 5
    for future in (working, waiting):
        with pytest.raises(DecoderUnavailableError, match="closed"):
            future.result(timeout=5)
    assert not psutil.pid_exists(pid)
    assert pool.is_closed
    pool.close()
    with pytest.raises(DecoderUnavailableError, match="closed"):
        pool.probe(fifo)


def test_an_error_in_the_block_leaves_no_process(short_video: Path) -> None:
    pids: list[int] = []

    def fail() -> None:
        with DecoderPool("cpu", num_workers=1) as pool:
            pool.probe(short_video)
            pids.extend(pool.pids)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert pids
    assert all_gone(pids)


def test_a_forgotten_pool_leaves_no_process(short_video: Path) -> None:
    pool = DecoderPool("cpu", num_workers=1)
    pool.probe(short_video)
    pids = pool.pids
    del pool
    assert all_gone(pids)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "gpu"}, "device: expected one of auto, cpu, cuda, got 'gpu'"),
        ({"num_workers": -1}, "num_workers: expected a number in"),
        ({"workers_per_gpu": 0}, "workers_per_gpu: expected a number in"),
        ({"timeout_s": 0}, "timeout_s: expected a number in"),
        ({"gpu_ids": (-1,)}, "gpu_ids: expected a number in"),
    ],
)
def test_a_wrong_setting_is_named(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        DecoderPool(**arguments)  # pyright: ignore[reportArgumentType]


def test_a_pool_that_was_never_used_starts_nothing() -> None:
    before = threading.active_count()
    with DecoderPool() as pool:
        assert pool.pids == ()
        assert threading.active_count() == before


@pytest.mark.slow
def test_every_frame_is_right_whenever_a_process_is_killed(short_video: Path) -> None:
    expected = list(decode_segments(short_video, SEGMENTS, REQUEST))
    stop, num_decoded = threading.Event(), 0
    instants = np.random.default_rng(3).uniform(0, 0.3, 30)

    def kill_at_instants(pool: DecoderPool) -> None:
        for instant in instants:
            # A busy machine takes its time to start a process, and a call that is hit twice is given
            # up: the one that the last signal met, or that began just then, must be over.
            last = num_decoded
            while num_decoded < last + 2 and not stop.is_set():
                time.sleep(0.005)
            time.sleep(instant)
            for pid in pool.pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        stop.set()

    with DecoderPool("cpu", num_workers=1) as pool:
        killer = threading.Thread(target=kill_at_instants, args=(pool,))
        killer.start()
        try:
            while not stop.is_set():
                assert_same(pool.decode(short_video, SEGMENTS, REQUEST), expected)
                num_decoded += 1
        finally:
            stop.set()
            killer.join()

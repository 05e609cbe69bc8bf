"""Choice of the decoding device. Without a GPU, failures are real ones of the requested device."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Barrier, Thread

import numpy as np
import pytest

from medassets.errors import DecoderUnavailableError, Reason, SampleRejectedError, SpecError
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.clips.plan import ClipEncoding
from medassets.video.facts import VideoFacts
from medassets.video.frames.decoding import decode_segments
from medassets.video.processes.devices import GPU_TOLERANCE, Preflights, count_gpus
from medassets.video.processes.messages import Outcome
from medassets.video.processes.pool import DecoderPool
from medassets.video.requests import DecodedClip
from medassets.video.timeline import Segment
from medassets_tests.gpu import require_gpu
from medassets_tests.video.contract import REQUEST, Decode, DecoderContract

SEGMENTS = [Segment(0, 1000), Segment(500, 2000), Segment(1500, 60_000)]
FACTS = VideoFacts("h264", "yuv420p", 96, 64, 0, False, 2000, 25.0, False)

no_gpu = pytest.mark.skipif(count_gpus().num_gpus > 0, reason="there is a GPU here")


STAND_IN = """
import os, sys, time
import medassets.video.frames.decoding as decoding
from dataclasses import replace
from medassets.errors import DecoderUnavailableError, Reason, SampleRejectedError
on_cpu = decoding.decode_segments

def fail(how, clip):
    if how == "crash": os.abort()
    if how == "hang": time.sleep(60)
    if how == "reject": return SampleRejectedError(Reason.DECODE_FAILED, "cuda:0 ran out of surfaces")
    if how == "refuse": raise DecoderUnavailableError("cuda:0 has no decoder for this size")
    if how == "differ": return replace(clip, frames=clip.frames ^ 3)
    if how == "shift": return replace(clip, timestamps_s=tuple(t + 0.04 for t in clip.timestamps_s))
    return clip

def decode(path, segments, request, *, device="cpu", on_progress=None):
    for i, clip in enumerate(on_cpu(path, segments, request, on_progress=on_progress)):
        if device.startswith("cuda") and not isinstance(clip, SampleRejectedError):
            clip = replace(clip, device=device)
            # The preflight asks for one segment.
            if i == {at}: clip = fail({how!r}, clip)
        yield clip

decoding.decode_segments = decode
from medassets.video.processes.worker import main
main([str(os.getppid())])
"""
"""A process whose `cuda` is the CPU, until it fails in a given way at a given segment."""

StandIn = Callable[[str, int], None]


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """Return a function that puts a stand-in for GPUs into new decoder processes."""

    def use(how: str, at: int) -> None:
        script = STAND_IN.replace("{how!r}", repr(how)).replace("{at}", str(at))
        command = [sys.executable, "-c", script]
        monkeypatch.setattr("medassets.video.processes.process.worker_command", lambda: command)

    return use


def clips(outcomes: Sequence[Outcome]) -> list[DecodedClip]:
    return [outcome for outcome in outcomes if isinstance(outcome, DecodedClip)]


def assert_same_frames(got: Sequence[Outcome], expected: Sequence[Outcome], atol: int = 0) -> None:
    assert [isinstance(one, DecodedClip) for one in got] == [
        isinstance(other, DecodedClip) for other in expected
    ]
    for one, other in zip(clips(got), clips(expected), strict=True):
        assert one.timestamps_s == other.timestamps_s
        difference = np.abs(one.frames.astype(np.int16) - other.frames)
        assert difference.max() <= atol


@no_gpu
def test_auto_decodes_on_the_cpu_where_there_is_no_gpu_and_says_so(short_video: Path) -> None:
    with DecoderPool("auto", num_workers=1) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
        assert pool.num_slots == 1
        assert len(pool.pids) == 1
    assert_same_frames(got, list(decode_segments(short_video, SEGMENTS, REQUEST)))
    assert {(clip.device, clip.fallback) for clip in clips(got)} == {("cpu", "no CUDA device")}


@no_gpu
def test_cuda_fails_where_there_is_no_gpu_and_says_what_to_do(short_video: Path) -> None:
    message = r"device 'cuda' cannot decode here: .*(driver|GPU).*; or ask for device auto or cpu"
    with DecoderPool("cuda") as pool:
        for _ in range(2):
            with pytest.raises(DecoderUnavailableError, match=message):
                pool.decode(short_video, SEGMENTS, REQUEST)
        with pytest.raises(DecoderUnavailableError, match=message):
            pool.check_device()


def test_what_needs_no_gpu_works_without_the_one_asked_for(
    short_video: Path, tmp_path: Path
) -> None:
    with DecoderPool("cuda", num_workers=1, num_gpus=0) as pool:
        assert pool.probe(short_video).codec == "h264"
        target = tmp_path / "clip.mp4"
        made = pool.write_clip(short_video, SEGMENTS[0], ClipEncoding(), target)
        assert made.num_bytes == target.stat().st_size
        pool.check_encoder(ClipEncoding())
        with pytest.raises(SpecError, match="clip_preset: libx264 does not accept 'hasty'"):
            pool.check_encoder(ClipEncoding(preset="hasty"))
        with pytest.raises(DecoderUnavailableError, match="device 'cuda' cannot decode here"):
            pool.decode(short_video, SEGMENTS, REQUEST)
    for device in ("cpu", "auto"):
        with DecoderPool(device, num_workers=1, num_gpus=0) as pool:
            pool.check_device()


@no_gpu
def test_auto_falls_back_to_the_same_bytes_when_the_gpu_fails_at_a_video(short_video: Path) -> None:
    # A process really asks for cuda:0 and really fails: only the count of GPUs is pretended.
    with DecoderPool("auto", num_gpus=1) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
        assert pool.num_slots == 2
    assert_same_frames(got, list(decode_segments(short_video, SEGMENTS, REQUEST)))
    for clip in clips(got):
        assert clip.device == "cpu"
        assert clip.fallback is not None
        assert clip.fallback.startswith("the GPU cannot decode it: ")
        assert "/" not in clip.fallback


@no_gpu
def test_cuda_fails_when_the_gpu_fails_at_a_video(short_video: Path) -> None:
    message = r"a\.mp4: cuda:0 cannot be used for h264 \(yuv420p\): the GPU cannot decode it: .*;"
    with (
        DecoderPool("cuda", num_gpus=1) as pool,
        pytest.raises(DecoderUnavailableError, match=message),
    ):
        pool.decode(short_video, SEGMENTS, REQUEST)


def test_a_gpu_that_gives_the_same_frames_is_taken(short_video: Path, stand_in: StandIn) -> None:
    stand_in("work", 0)
    expected = list(decode_segments(short_video, SEGMENTS, REQUEST))
    for device in ("auto", "cuda"):
        with DecoderPool(device, num_gpus=1) as pool:
            got = pool.decode(short_video, SEGMENTS, REQUEST)
        assert_same_frames(got, expected)
        assert {(clip.device, clip.fallback) for clip in clips(got)} == {("cuda", None)}


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("crash", "the GPU cannot decode it: the decoder process was terminated by SIGABRT"),
        ("hang", "the GPU cannot decode it: the decoder did not respond for 1.5 s"),
        ("reject", "the GPU cannot decode it: cuda ran out of surfaces"),
        ("refuse", "the GPU cannot decode it: cuda has no decoder for this size"),
        ("differ", "frames of the GPU differ from those of the CPU by 3 of 255"),
        ("shift", "the GPU outputs other frames than the CPU"),
    ],
)
def test_a_gpu_that_fails_its_trial_is_not_taken(
    short_video: Path, stand_in: StandIn, how: str, problem: str
) -> None:
    stand_in(how, 0)
    with DecoderPool("auto", num_gpus=1, timeout_s=1.5) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
    assert_same_frames(got, list(decode_segments(short_video, SEGMENTS, REQUEST)))
    assert {(clip.device, clip.fallback) for clip in clips(got)} == {("cpu", problem)}


@pytest.mark.parametrize(
    ("how", "problem"),
    [
        ("crash", "the GPU failed: the decoder process was terminated by SIGABRT"),
        ("reject", "the GPU failed: cuda ran out of surfaces"),
        ("refuse", "the GPU failed: cuda has no decoder for this size"),
    ],
)
def test_what_the_gpu_fails_at_later_is_decoded_on_the_cpu(
    short_video: Path, stand_in: StandIn, how: str, problem: str
) -> None:
    stand_in(how, 1)
    with DecoderPool("auto", num_gpus=1) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
    assert_same_frames(got, list(decode_segments(short_video, SEGMENTS, REQUEST)))
    first, second = clips(got)
    assert (first.device, first.fallback) == ("cuda", None)
    assert (second.device, second.fallback) == ("cpu", problem)


def test_a_gpu_that_hangs_later_costs_what_it_did_not_answer(
    short_video: Path, stand_in: StandIn
) -> None:
    stand_in("hang", 1)
    with DecoderPool("auto", num_gpus=1, timeout_s=1.5) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
    assert [getattr(outcome, "reason", None) for outcome in got] == [
        None, Reason.DECODER_TIMEOUT, Reason.DECODER_TIMEOUT,
    ]  # fmt: skip


def test_cuda_rejects_what_the_gpu_crashes_at_and_fails_where_it_refuses(
    short_video: Path, stand_in: StandIn
) -> None:
    stand_in("crash", 1)
    with DecoderPool("cuda", num_gpus=1) as pool:
        got = pool.decode(short_video, SEGMENTS, REQUEST)
    assert [getattr(outcome, "reason", None) for outcome in got] == [
        None, Reason.DECODE_FAILED, Reason.DECODE_FAILED,
    ]  # fmt: skip
    stand_in("refuse", 1)
    with (
        DecoderPool("cuda", num_gpus=1) as pool,
        pytest.raises(DecoderUnavailableError, match="no decoder for this size"),
    ):
        pool.decode(short_video, SEGMENTS, REQUEST)


@no_gpu
def test_a_kind_of_video_is_tried_once(
    short_video: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    find = Preflights.find_problem

    def count(self: Preflights, facts: VideoFacts, gpu: int, compare: object) -> str | None:
        def counted() -> str | None:
            tried.append(facts.codec)
            return compare()  # pyright: ignore[reportCallIssue]

        return find(self, facts, gpu, counted)

    monkeypatch.setattr(Preflights, "find_problem", count)
    other = make_video(tmp_path / "b.avi", VideoRecipe(codec="mpeg4", num_frames=10)).path
    with DecoderPool("auto", num_gpus=1) as pool:
        for path in (short_video, other, short_video, other):
            pool.decode(path, SEGMENTS[:1], REQUEST)
    assert tried == ["h264", "mpeg4"]


@no_gpu
def test_a_video_that_no_device_can_decode_is_inconclusive(
    short_video: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"\0" * 1000)
    with DecoderPool("auto", num_gpus=1) as pool:
        (outcome,) = pool.decode(broken, SEGMENTS[:1], REQUEST)
        assert isinstance(outcome, SampleRejectedError)
        assert outcome.reason is Reason.DECODE_FAILED


@pytest.mark.parametrize(
    ("gpu_ids", "expected"),
    [((), [0, 1, 2, 0, 1, 2]), ((2, 0), [2, 0, 2, 0])],
)
def test_each_gpu_has_its_processes(gpu_ids: tuple[int, ...], expected: list[int]) -> None:
    with DecoderPool("cuda", gpu_ids=gpu_ids, workers_per_gpu=2, num_gpus=3) as pool:
        assert pool.num_slots == len(expected)
        assert list(pool._gpus) == expected


def test_a_gpu_that_is_not_there_is_named() -> None:
    with (
        DecoderPool("cuda", gpu_ids=(0, 3), num_gpus=2) as pool,
        pytest.raises(
            DecoderUnavailableError, match=r"gpu_ids \[3\]: this machine has only 2 GPUs"
        ),
    ):
        pool.check_device()


def test_a_gpu_that_is_not_there_is_a_reason_for_the_cpu(short_video: Path) -> None:
    with DecoderPool("auto", gpu_ids=(3,), num_gpus=2, num_workers=1) as pool:
        got = pool.decode(short_video, SEGMENTS[:1], REQUEST)
    assert clips(got)[0].fallback == "gpu_ids [3]: this machine has only 2 GPUs"


def test_a_hidden_gpu_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with DecoderPool("cuda") as pool, pytest.raises(DecoderUnavailableError, match="cannot decode"):
        pool.check_device()


def test_the_trial_of_a_kind_is_waited_for_and_shared() -> None:
    preflights, barrier, tried = Preflights(), Barrier(4), []
    problems: list[str | None] = []

    def compare() -> str | None:
        tried.append(1)
        return "a problem"

    def find() -> None:
        barrier.wait(10)
        problems.append(preflights.find_problem(FACTS, 0, compare))

    threads = [Thread(target=find) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == ["a problem"] * 4
    assert len(tried) == 1
    assert preflights.find_problem(FACTS, 1, lambda: None) is None


def test_an_undecided_trial_is_made_again() -> None:
    def undecided() -> str | None:
        raise SampleRejectedError(Reason.DECODE_FAILED, "damaged")

    preflights = Preflights()
    with pytest.raises(SampleRejectedError, match="damaged"):
        preflights.find_problem(FACTS, 0, undecided)
    assert preflights.find_problem(FACTS, 0, lambda: None) is None


@pytest.mark.gpu
def test_auto_takes_the_gpu_where_it_can_and_the_cpu_where_not(tmp_path: Path) -> None:
    require_gpu()
    # NVDEC has no decoder for FFV1.
    good = make_video(tmp_path / "a.mp4", VideoRecipe(width=320, height=192, noise=30)).path
    odd = make_video(
        tmp_path / "a.mkv", VideoRecipe(codec="ffv1", width=320, height=192, noise=30)
    ).path
    with DecoderPool("auto", workers_per_gpu=1) as pool:
        (on_gpu,) = clips(pool.decode(good, SEGMENTS[:1], REQUEST))
        (on_cpu,) = clips(pool.decode(odd, SEGMENTS[:1], REQUEST))
    assert (on_gpu.device, on_gpu.fallback) == ("cuda", None)
    assert on_cpu.device == "cpu"
    assert on_cpu.fallback is not None


@pytest.mark.gpu
class TestDecoderOnGpu(DecoderContract):
    device = "cuda"
    atol = GPU_TOLERANCE

    @pytest.fixture(scope="class")
    @classmethod
    def decode(cls) -> Iterator[Decode]:
        require_gpu()
        with DecoderPool("cuda", workers_per_gpu=1) as pool:
            yield pool.decode

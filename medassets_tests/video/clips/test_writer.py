"""Clips as mp4: exactly the frames of the stretch, whatever the source is like.

The oracle decodes everything, from the first packet on, and decides by timestamps alone.
"""

import itertools
import random
import resource
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.error import FFmpegError

from medassets.errors import DiskSpaceError, Reason, SampleRejectedError, SpecError
from medassets.video.clips.plan import ClipEncoding, ClipFacts
from medassets.video.clips.writer import write_clip
from medassets.video.timeline import Segment
from medassets_tests import shared_data

REAL = shared_data.VIDEO
WIDTH, HEIGHT, BLOCK = 128, 96, 32
LOSSLESS = ClipEncoding(crf=0)
COPY = ClipEncoding(mode="copy")
# name -> container, encoder, options; every one has several key frames, most of them B-frames.
CODINGS: dict[str, tuple[str, str, dict[str, str]]] = {
    "h264": ("mp4", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "h264-open-gop": ("mp4", "libx264", {"x264-params": "keyint=12:open-gop=1:bframes=3"}),
    "h264-mkv": ("matroska", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "hevc": ("mp4", "libx265", {"preset": "ultrafast", "x265-params": "keyint=12:log-level=none"}),
    "vp9": ("webm", "libvpx-vp9", {"g": "12", "deadline": "realtime", "cpu-used": "8"}),
    "mpeg4": ("avi", "mpeg4", {"g": "12"}),
    "h264-ts": ("mpegts", "libx264", {"g": "12", "bf": "3", "preset": "veryfast"}),
    "h264-avi": ("avi", "libx264", {"g": "12", "bf": "3"}),
    "mpeg2-ps": ("mpeg", "mpeg2video", {"g": "12", "bf": "2"}),
}
# Their packets do not tell for certain when frames are shown.
NOT_COPIED = ("mpeg4", "h264-ts", "mpeg2-ps", "h264-avi")

Shot = tuple[Fraction, Fraction, Any]


def draw_number(number: int, *, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw a number in twelve black or white squares, uint8, axes (h, w, c)."""
    bits = np.array([number >> bit & 1 for bit in range(12)], np.uint8).reshape(3, 4)
    squares = np.kron(bits, np.ones((BLOCK, BLOCK), np.uint8)) * 200 + 20
    picture = np.zeros((height, width), np.uint8)
    picture[:HEIGHT, :WIDTH] = squares
    return np.repeat(picture[:, :, None], 3, axis=2)


def read_number(luma: np.ndarray) -> int:
    """Read the number of a picture of any size, luma, axes (h, w)."""
    height, width = luma.shape
    rows = [(2 * row + 1) * height // 6 for row in range(3)]
    columns = [(2 * column + 1) * width // 8 for column in range(4)]
    bits = [luma[row, column] > 120 for row, column in itertools.product(rows, columns)]
    return sum(int(bit) << index for index, bit in enumerate(bits))


def write_video(
    path: Path,
    times_ms: Sequence[int],
    *,
    coding: str = "h264",
    size: tuple[int, int] = (WIDTH, HEIGHT),
    turn: tuple[int, bool] = (0, False),
    sound: np.ndarray | None = None,
) -> Path:
    """Write a video whose frame k shows k from `times_ms[k]` on; mono sound at 16 kHz from 0."""
    container, encoder, options = CODINGS[coding]
    with av.open(str(path), "w", format=container) as output:
        rate = Fraction(25) if container in ("avi", "mpeg") else Fraction(1000)
        stream: Any = output.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.time_base = 1 / rate
        stream.set_display_rotation(-turn[0], hflip=turn[1])
        track: Any = None
        if sound is not None:
            track = output.add_stream("aac", rate=16_000, layout="mono")
        for number, time_ms in enumerate(times_ms):
            picture = draw_number(number, width=size[0], height=size[1])
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(time_ms * rate / 1000), 1 / rate
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            samples = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
            samples.sample_rate, samples.pts = 16_000, 0
            output.mux(track.encode(samples))
            output.mux(track.encode(None))
    return path


def decode_all(path: Path) -> list[Shot]:
    """Decode everything; return (begin, end, luma) of every frame, seconds from the start."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        start_s = Fraction(container.start_time or 0, 1_000_000)
        assert stream.time_base is not None
        frames = [f for f in container.decode(stream) if f.pts is not None]
        begins = [(f.pts or 0) * stream.time_base - start_s for f in frames]
        lasts = (frames[-1].duration or 0) * stream.time_base
        # MPEG streams do not say how long the last frame stays: as long as the one before.
        ends = [*begins[1:], begins[-1] + (lasts or begins[-1] - begins[-2])]
        lumas = [f.reformat(format="gray").to_ndarray() for f in frames]
    return list(zip(begins, ends, lumas, strict=True))


def cut(shots: list[Shot], begin_ms: int, end_ms: int | None) -> list[Shot]:
    """Return the shots on screen within a stretch, their times counted from its begin."""
    begin = Fraction(begin_ms, 1000)
    end = shots[-1][1] if end_ms is None else Fraction(end_ms, 1000)
    return [
        (max(low - begin, Fraction(0)), min(high, end) - begin, content)
        for low, high, content in shots
        if high > begin and low < end
    ]


def plan_segments(shots: list[Shot], number: int) -> list[Segment]:
    """Choose stretches: random ones, some to the end, some that begin with a frame."""
    rng = random.Random(number)
    last_ms = int(shots[-1][1] * 1000)
    segments = [Segment(0, None)]
    for _ in range(number):
        begin_ms = rng.randrange(last_ms)
        if rng.random() < 0.3:
            begin_ms = int(rng.choice(shots)[0] * 1000)
        end_ms = rng.choice([None, begin_ms + rng.randrange(1, 200), begin_ms + 900])
        segments.append(Segment(begin_ms, end_ms))
    return segments


def show_clip(path: Path, facts: ClipFacts) -> list[Shot]:
    """Return the shots of the stretch a clip was made for: all that a plain reader gives."""
    *shots, (begin, _, content) = decode_all(path)
    with av.open(str(path)) as container:
        # Where frames are stored out of order, none of them tells how long the last one stays.
        end = Fraction(container.duration or 0, 1_000_000)
    assert abs(end * 1000 - facts.duration_ms) <= 1
    return [*shots, (begin, end, content)]


def assert_same_times(made: list[Shot], expected: list[Shot]) -> None:
    """Compare begins to a microsecond; ends to a millisecond, as facts know them."""
    assert len(made) == len(expected)
    for got, wanted in zip(made, expected, strict=True):
        assert abs(got[0] - wanted[0]) <= Fraction(1, 1_000_000)
        assert abs(got[1] - wanted[1]) <= Fraction(1, 1000)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    """Sixty frames at 25 per second, with B-frames and a key frame every twelve."""
    return write_video(folder / "video.mp4", range(0, 2400, 40))


@pytest.mark.parametrize(
    ("coding", "mode"),
    [(coding, "reencode") for coding in CODINGS if coding != "h264-avi"]
    + [(coding, "copy") for coding in CODINGS if coding not in NOT_COPIED],
)
def test_a_clip_shows_exactly_the_frames_of_its_stretch(
    coding: str, mode: Any, folder: Path, tmp_path: Path
) -> None:
    source, target = folder / coding, tmp_path / "clip.mp4"
    if not source.exists():
        write_video(source, range(0, 2400, 40), coding=coding)
    shots = [(low, high, read_number(luma)) for low, high, luma in decode_all(source)]
    assert [number for *_, number in shots] == list(range(60))
    for segment in plan_segments(shots, 6):
        facts = write_clip(source, segment, ClipEncoding(mode=mode), target)
        made, expected = show_clip(target, facts), cut(shots, segment.begin_ms, segment.end_ms)
        assert [read_number(luma) for *_, luma in made] == [number for *_, number in expected]
        assert_same_times(made, expected)
        assert facts.num_frames == len(decode_all(target))
        assert (facts.width, facts.height) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("coding", NOT_COPIED)
def test_what_cannot_be_copied_at_the_frame_is_rejected_with_the_remedy(
    coding: str, tmp_path: Path
) -> None:
    source = write_video(tmp_path / "video", range(0, 400, 40), coding=coding)
    with pytest.raises(SampleRejectedError, match=r"cannot be copied .*; declare clips: reencode"):
        write_clip(source, Segment(0, 200), COPY, tmp_path / "clip.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["video"]


def test_a_container_without_presentation_times_is_cut_in_the_order_of_decoding(
    tmp_path: Path,
) -> None:
    source = write_video(tmp_path / "video.avi", range(0, 2400, 40), coding="h264-avi")
    facts = write_clip(source, Segment(1000, 1400), ClipEncoding(), tmp_path / "clip.mp4")
    numbers = [read_number(luma) for *_, luma in decode_all(tmp_path / "clip.mp4")]
    assert numbers == list(range(numbers[0], numbers[0] + 10))
    assert facts.num_frames == 10


def test_a_copy_may_begin_half_an_hour_behind_its_key_frame(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "v.mp4"), "w") as output:
        stream: Any = output.add_stream("libx264", rate=1_000_000, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1_000_000)
        for number in range(8):
            frame = av.VideoFrame.from_ndarray(draw_number(number), format="rgb24")
            frame.pts, frame.time_base = number * 400_000_000, Fraction(1, 1_000_000)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    segment = Segment(2_400_000, 2_500_000)
    facts = write_clip(tmp_path / "v.mp4", segment, COPY, tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in show_clip(tmp_path / "clip.mp4", facts)] == [6]
    assert (facts.num_frames, facts.num_hidden) == (1, 6)


def test_every_reader_at_hand_begins_with_the_frame_on_screen(video: Path, tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2")
    facts = write_clip(video, Segment(1092, 1214), COPY, tmp_path / "clip.mp4")
    assert facts.num_hidden > 0
    capture, numbers = cv2.VideoCapture(str(tmp_path / "clip.mp4")), []
    while (answer := capture.read())[0]:
        numbers.append(read_number(answer[1][:, :, 1]))
    assert numbers == [27, 28, 29, 30]


def test_times_of_a_variable_frame_rate_are_kept(tmp_path: Path) -> None:
    times_ms = [7, 20, 21, 400, 433, 466, 1201, 1202, 1203, 1999]
    source = write_video(tmp_path / "vfr.mp4", times_ms)
    for begin_ms, end_ms, numbers in ((3, 450, [0, 1, 2, 3, 4]), (500, 1195, [5, 6])):
        facts = write_clip(source, Segment(begin_ms, end_ms), LOSSLESS, tmp_path / "clip.mp4")
        shots = decode_all(tmp_path / "clip.mp4")
        assert [read_number(luma) for *_, luma in shots] == numbers
        # The container starts with its first frame, at 7 ms.
        begins = [max(times_ms[number] - 7 - begin_ms, 0) for number in numbers]
        assert [low * 1000 for low, *_ in shots] == begins
        assert shots[-1][1] * 1000 == facts.duration_ms == end_ms - begin_ms


@pytest.mark.parametrize("fps", [5, 12.5, 29.97, 50])
def test_another_frame_rate_takes_the_frame_on_screen_and_invents_none(
    fps: float, video: Path, tmp_path: Path
) -> None:
    facts = write_clip(video, Segment(130, 9999), ClipEncoding(fps=fps), tmp_path / "clip.mp4")
    step_ms = 1000 / Fraction(str(fps))
    ticks_ms = itertools.takewhile(lambda t: t < 2400, (130 + k * step_ms for k in range(999)))
    expected = [int(tick_ms // 40) for tick_ms in ticks_ms]
    shots = decode_all(tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in shots] == expected
    assert [low * 1000 for low, *_ in shots] == [k * step_ms for k in range(len(expected))]
    assert (facts.end_ms, facts.num_frames) == (2400, len(expected))


def test_height_is_scaled_in_proportion_to_an_even_width(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.mp4", range(0, 400, 40), size=(256, 98))
    facts = write_clip(source, Segment(0, 200), ClipEncoding(height=49), tmp_path / "clip.mp4")
    assert (facts.width, facts.height) == (124, 48)
    assert decode_all(tmp_path / "clip.mp4")[0][2].shape == (48, 124)


def test_an_odd_side_loses_its_last_line_and_no_other_pixel_changes(tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.webm", [0, 40, 80], coding="vp9", size=(131, 97))
    facts = write_clip(source, Segment(0, None), LOSSLESS, tmp_path / "clip.mp4")
    assert (facts.width, facts.height) == (130, 96)
    for (*_, luma), (*_, made) in zip(
        decode_all(source), decode_all(tmp_path / "clip.mp4"), strict=True
    ):
        np.testing.assert_array_equal(made, luma[:96, :130])


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_rotation_and_mirroring_are_baked_in(rotation: int, mirrored: bool, tmp_path: Path) -> None:
    source = write_video(tmp_path / "v.mp4", [0, 40], turn=(rotation, mirrored))
    facts = write_clip(source, Segment(0, None), LOSSLESS, tmp_path / "clip.mp4")
    stored, made = decode_all(source)[1][2], decode_all(tmp_path / "clip.mp4")[1][2]
    # The display matrix turns first, and mirrors what was turned.
    shown = np.rot90(stored, -rotation // 90)
    np.testing.assert_array_equal(made, shown[:, ::-1] if mirrored else shown)
    assert (facts.height, facts.width) == shown.shape
    copied = write_clip(source, Segment(0, None), COPY, tmp_path / "copy.mp4")
    assert (copied.height, copied.width) == shown.shape
    np.testing.assert_array_equal(decode_all(tmp_path / "copy.mp4")[1][2], stored)


def decode_sound(path: Path) -> tuple[np.ndarray, int]:
    """Return the samples of a clip from its time 0 on, and their rate."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        parts = [(f.time or 0.0, f.to_ndarray()[0]) for f in container.decode(stream)]
        rate = stream.codec_context.sample_rate
    samples = np.zeros(round(parts[-1][0] * rate) + parts[-1][1].size, np.float32)
    for begin_s, part in parts:
        samples[round(begin_s * rate) :][: part.size] = part
    return samples, rate


@pytest.mark.parametrize("mode", ["reencode", "copy"])
def test_sound_is_cut_to_the_same_stretch(mode: Any, tmp_path: Path) -> None:
    seconds = np.arange(16_000 * 3) / 16_000
    beep = ((seconds > 1.5) & (seconds < 1.6)) * 0.5 * np.sin(2 * np.pi * 440 * seconds)
    source = write_video(tmp_path / "v.mp4", range(0, 3000, 40), sound=beep.astype(np.float32))
    encoding = ClipEncoding(mode=mode, audio=True)
    facts = write_clip(source, Segment(1010, 2010), encoding, tmp_path / "clip.mp4")
    samples, rate = decode_sound(tmp_path / "clip.mp4")
    loud = np.flatnonzero(np.abs(samples) > 0.1)
    begin_s = 1.5 - 1.01
    # AAC rings around the beep, for a few milliseconds.
    assert loud[[0, -1]] / rate == pytest.approx([begin_s, begin_s + 0.1], abs=0.012)
    assert samples.size / rate == pytest.approx(1.0, abs=0.13)
    assert facts.has_audio
    with av.open(str(tmp_path / "clip.mp4")) as clip:
        assert clip.start_time == 0
        assert [stream.type for stream in clip.streams] == ["video", "audio"]
    assert not write_clip(source, Segment(0, 500), ClipEncoding(), tmp_path / "q.mp4").has_audio


@pytest.mark.parametrize("mode", ["reencode", "copy"])
def test_the_same_clip_has_the_same_bytes(mode: Any, video: Path, tmp_path: Path) -> None:
    encoding = ClipEncoding(mode=mode, height=0)
    for name in ("a.mp4", "b.mp4"):
        write_clip(video, Segment(500, 1500), encoding, tmp_path / name)
    content = (tmp_path / "a.mp4").read_bytes()
    assert content == (tmp_path / "b.mp4").read_bytes()
    # `mvhd`: version 0, flags 0, and neither creation nor modification time.
    header = content.index(b"mvhd") + 4
    assert content[header : header + 12] == bytes(12)
    assert b"Lavf" not in content


def test_a_stretch_behind_the_end_is_rejected(video: Path, tmp_path: Path) -> None:
    for encoding in (ClipEncoding(), COPY):
        with pytest.raises(
            SampleRejectedError, match=r"begins at 2400 ms.* ends at 2400"
        ) as caught:
            write_clip(video, Segment(2400, 3000), encoding, tmp_path / "clip.mp4")
        assert caught.value.reason is Reason.END_BEYOND_DURATION
        facts = write_clip(video, Segment(2399, 3000), encoding, tmp_path / "clip.mp4")
        assert (facts.begin_ms, facts.end_ms) == (2399, 2400)


def test_a_failure_leaves_the_old_clip_and_no_other_file(video: Path, tmp_path: Path) -> None:
    content = video.read_bytes()
    (tmp_path / "broken.mp4").write_bytes(content[: len(content) // 2])
    target = tmp_path / "clips" / "clip.mp4"
    write_clip(video, Segment(0, 400), COPY, target)
    before = target.read_bytes()
    for encoding in (ClipEncoding(), COPY):
        with pytest.raises(SampleRejectedError) as caught:
            write_clip(tmp_path / "broken.mp4", Segment(0, 400), encoding, target)
        assert caught.value.reason is Reason.DECODE_FAILED
        assert str(tmp_path) not in str(caught.value)
    assert [path.name for path in target.parent.iterdir()] == ["clip.mp4"]
    assert target.read_bytes() == before


def test_a_full_disk_is_no_fault_of_the_video(video: Path, tmp_path: Path) -> None:
    for encoding in (ClipEncoding(), COPY):
        with (
            largest_file(2000),
            pytest.raises(DiskSpaceError, match=r"clip\.mp4.* more bytes are needed"),
        ):
            write_clip(video, Segment(0, None), encoding, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_pictures_is_rejected(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "flt", "mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(SampleRejectedError) as caught:
        write_clip(tmp_path / "a.mp4", Segment(0, None), ClipEncoding(), tmp_path / "clip.mp4")
    assert caught.value.reason is Reason.NO_VIDEO_STREAM


def has_nvenc() -> bool:
    """Whether a GPU of this machine can encode."""
    try:
        context: Any = av.CodecContext.create("h264_nvenc", "w")
        context.width, context.height, context.pix_fmt = 256, 256, "yuv420p"
        context.framerate = 25
        context.open()
    except FFmpegError:
        return False
    return True


@pytest.mark.skipif(has_nvenc(), reason="this machine has what the test says is missing")
def test_an_encoder_that_is_not_there_is_named_with_what_to_declare(
    video: Path, tmp_path: Path
) -> None:
    encoding = ClipEncoding(encoder="h264_nvenc")
    with pytest.raises(SpecError, match=r"clip_encoder: h264_nvenc needs .* clip_encoder: libx264"):
        write_clip(video, Segment(0, 400), encoding, tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
@pytest.mark.skipif(not has_nvenc(), reason="no GPU here that encodes")
def test_a_gpu_encodes_the_same_frames(video: Path, tmp_path: Path) -> None:
    encoding = ClipEncoding(encoder="h264_nvenc", height=288)
    write_clip(video, Segment(500, 1300), encoding, tmp_path / "clip.mp4")
    shots = decode_all(tmp_path / "clip.mp4")
    assert [read_number(luma) for *_, luma in shots] == list(range(12, 33))


def test_progress_is_told_for_every_packet(video: Path, tmp_path: Path) -> None:
    calls: list[None] = []
    facts = write_clip(
        video,
        Segment(0, None),
        ClipEncoding(),
        tmp_path / "clip.mp4",
        on_progress=lambda: calls.append(None),
    )
    assert len(calls) >= 2 * facts.num_frames


def list_real() -> list[Path]:
    return sorted(REAL.iterdir()) if REAL.is_dir() else []


@pytest.mark.skipif(not list_real(), reason="the folder of real videos is not there")
@pytest.mark.parametrize("source", list_real(), ids=lambda path: path.name)
def test_real_videos_are_cut_at_the_frame(source: Path, tmp_path: Path) -> None:
    begin_ms, end_ms = (40, 90) if "3frames" in source.name else (330, 1130)
    with av.open(str(source)) as container:
        stream = container.streams.video[0]
        start_s = Fraction(container.start_time or 0, 1_000_000)
        assert stream.time_base is not None
        shots: list[Shot] = []
        for frame in container.decode(stream):
            begin_s = (frame.pts or 0) * stream.time_base - start_s
            end_s = begin_s + (frame.duration or 0) * stream.time_base
            if shots:
                shots[-1] = (shots[-1][0], begin_s, shots[-1][2])
            shots.append((begin_s, end_s, frame.reformat(format="gray").to_ndarray()))
            if begin_s > 2:
                break
    expected = cut(shots, begin_ms, end_ms)
    for encoding in (LOSSLESS, COPY):
        if encoding.mode == "copy" and source.name.startswith(("vp8", "mpeg4")):
            with pytest.raises(SampleRejectedError, match=r"cannot be copied into mp4.*: reencode"):
                write_clip(source, Segment(begin_ms, end_ms), encoding, tmp_path / "clip.mp4")
            continue
        facts = write_clip(source, Segment(begin_ms, end_ms), encoding, tmp_path / "clip.mp4")
        made = show_clip(tmp_path / "clip.mp4", facts)
        assert_same_times(made, expected)
        # Turned and 10-bit pictures are not stored as they were; their numbers are tested above.
        if encoding is COPY or not ("rot" in source.name or "main10" in source.name):
            for (*_, got), (*_, wanted) in zip(made, expected, strict=True):
                np.testing.assert_array_equal(got, wanted)

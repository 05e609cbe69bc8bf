"""Re-encode a segment: exactly its displayed frames."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, suppress
from fractions import Fraction
from pathlib import Path

import av
from av.codec.codec import UnknownCodecError
from av.codec.context import CodecContext, Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from medassets.errors import SpecError, UnplannedError
from medassets.video.clips.audio import AudioEncoder, AudioReader
from medassets.video.clips.frame_filter import FrameFilter
from medassets.video.clips.plan import MUXING, ClipEncoding, ClipPlan, choose_rate_hz
from medassets.video.clips.shown_frames import Ruler, Shown, ShownFrames, make_ruler
from medassets.video.facts import MIXED
from medassets.video.files.reader import VideoReader
from medassets.video.requests import Progress
from medassets.video.timeline import Segment

_NVENC_PRESETS = {
    "ultrafast": "p1", "superfast": "p1", "veryfast": "p2", "faster": "p3", "fast": "p3",
    "medium": "p4", "slow": "p5", "slower": "p6", "veryslow": "p7", "placebo": "p7",
}  # fmt: skip


def reencode(
    video: Path, segment: Segment, encoding: ClipEncoding, target: Path, *, on_progress: Progress
) -> ClipPlan:
    """Write the frames on screen within a segment, with timestamps from its begin.

    The first frame is displayed from 0 on; each lasts until the next, the last one until the
    segment or the video ends.

    Args:
        video: The source.
        segment: The segment.
        encoding: How to encode.
        target: File to write.
        on_progress: Called often.

    Returns:
        What the file must contain.

    Raises:
        SampleRejectedError: If the segment cannot be decoded.
        SpecError: If the encoder is not available, or rejects its settings.
        av.error.FFmpegError: If FFmpeg fails otherwise.
    """
    for counts in (True, False):
        with suppress(UnplannedError), ExitStack() as stack:
            reader = stack.enter_context(VideoReader(video))
            shown = ShownFrames(
                reader, segment, encoding.rules, counts=counts, on_progress=on_progress
            )
            audio: AudioReader | None = None
            if encoding.audio:
                zero_s = reader.clock.origin_s + Fraction(segment.begin_ms, 1000)
                audio = AudioReader(video, zero_s=zero_s, on_progress=on_progress)
                stack.enter_context(audio)
            output = av.open(str(target), "w", format="mp4", container_options=MUXING)
            stack.enter_context(output)
            return _ClipWriter(output, reader, encoding).write(shown, audio)
    msg = "two-pass decoding raised UnplannedError"
    raise AssertionError(msg)


def check_encoder(encoding: ClipEncoding) -> None:
    """Open the encoder once, to fail before any video is read.

    Raises:
        SpecError: If it is not available, or rejects its settings.
    """
    try:
        context = CodecContext.create(encoding.encoder, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.pix_fmt = 640, 360, "yuv420p"
        context.time_base, context.framerate = Fraction(1, 25), Fraction(25)
        context.thread_count, context.options = 1, _choose_options(encoding)
        context.open()
    except (FFmpegError, UnknownCodecError) as error:
        raise _no_encoder(encoding, error) from error


class _ClipWriter:
    """Writes the streams of one clip."""

    def __init__(
        self, output: OutputContainer, reader: VideoReader, encoding: ClipEncoding
    ) -> None:
        self._output, self._reader, self._encoding = output, reader, encoding
        self._ruler = make_ruler(reader.clock)
        self._filter = FrameFilter(height=encoding.height, crop=reader.crop)
        self._durations: dict[int, int] = {}
        self._picture = _add_picture(output, encoding)
        self._audio: AudioEncoder | None = None
        self._num_frames = 0

    def write(self, frames: ShownFrames, audio: AudioReader | None) -> ClipPlan:
        """Encode everything."""
        if audio is not None and audio.stream is not None:
            self._audio = AudioEncoder(self._output, audio)
        self._begin = end = self._ruler.at_ms(frames.span.begin_ms)
        self._placing = _Placing(self._ruler, end, _read_fps(self._encoding))
        with closing(frames.decode()) as decoded:
            for shown in decoded:
                end = shown.end
                self._write_shown(shown)
        self._mux(self._picture.encode(None))
        if self._audio is not None:
            packets = self._audio.encode_until(self._seconds(end), is_last=True)
            self._output.mux(list(packets))
        crop, scans = self._reader.crop, self._filter.scans
        return ClipPlan(
            begin_ms=frames.span.begin_ms,
            end_ms=frames.span.end_ms,
            num_packets=self._num_frames,
            num_frames=self._num_frames,
            codec="h264",
            has_audio=self._audio is not None and self._audio.num_samples > 0,
            is_copy=False,
            scan=next(iter(scans)) if len(scans) == 1 else MIXED,
            crop=None if crop is None else (crop.left, crop.top, crop.right, crop.bottom),
        )

    def _write_shown(self, shown: Shown) -> None:
        picture: VideoFrame | None = None
        for pts, duration in self._placing.place(shown, is_first=not self._num_frames):
            if picture is None:
                picture = self._filter.apply(shown.frame)
            if not self._num_frames:
                self._start(picture)
            picture.pts, picture.time_base = pts, Fraction(1, self._placing.rate_hz)
            self._durations[pts] = duration
            self._mux(self._picture.encode(picture))
            self._num_frames += 1
        if self._audio is not None:
            self._output.mux(list(self._audio.encode_until(self._seconds(shown.end))))

    def _start(self, picture: VideoFrame) -> None:
        """Open the encoder once size and colours are known."""
        context = self._picture.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        self._picture.time_base = context.time_base = Fraction(1, self._placing.rate_hz)
        fps = _read_fps(self._encoding) or Fraction(self._reader.facts.fps or 25)
        context.framerate = fps.limit_denominator(1001)
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(context, name, int(getattr(picture, name)))
        ratio = self._reader.context.sample_aspect_ratio
        if ratio:
            swaps = self._filter.orientation.swaps_sides
            context.sample_aspect_ratio = 1 / ratio if swaps else ratio
        try:
            context.open()
        except FFmpegError as error:
            raise _no_encoder(self._encoding, error) from error

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            # Otherwise the muxer gives the last frame the duration of the one before.
            packet.duration = self._durations.pop(packet.pts or 0)
            self._output.mux(packet)

    def _seconds(self, ticks: int) -> Fraction:
        return Fraction(ticks - self._begin, self._ruler.ticks_per_s)


class _Placing:
    """Computes timestamps in the clip, in units of `rate_hz`."""

    def __init__(self, ruler: Ruler, begin: int, fps: Fraction | None) -> None:
        self._ticks_per_s, self._begin, self._fps = ruler.ticks_per_s, begin, fps
        self._num_placed = 0
        self.rate_hz = fps.numerator if fps else choose_rate_hz(ruler.ticks_per_s)

    def place(self, shown: Shown, *, is_first: bool) -> Iterator[tuple[int, int]]:
        """Yield timestamp and duration of a frame, once for each time it is written."""
        if self._fps is None:
            pts = 0 if is_first else self._scale(shown.begin)
            yield pts, max(self._scale(shown.end) - pts, 1)
            return
        step = self._fps.denominator
        lasts = (shown.end - self._begin) * self.rate_hz
        while self._num_placed * step * self._ticks_per_s < lasts:
            yield self._num_placed * step, step
            self._num_placed += 1

    def _scale(self, ticks: int) -> int:
        return (ticks - self._begin) * self.rate_hz // self._ticks_per_s


def _read_fps(encoding: ClipEncoding) -> Fraction | None:
    return Fraction(str(encoding.fps)) if encoding.fps else None


def _add_picture(output: OutputContainer, encoding: ClipEncoding) -> VideoStream:
    stream = output.add_stream(encoding.encoder, options=_choose_options(encoding))
    assert isinstance(stream, VideoStream)
    # More threads change the bytes; clips are encoded in parallel anyway.
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _choose_options(encoding: ClipEncoding) -> dict[str, str]:
    if encoding.encoder == "h264_nvenc":
        preset = _NVENC_PRESETS.get(encoding.preset, encoding.preset)
        return {"preset": preset, "rc": "vbr", "cq": str(encoding.crf), "b": "0"}
    return {"preset": encoding.preset, "crf": str(encoding.crf)}


def _no_encoder(encoding: ClipEncoding, error: Exception) -> Exception:
    why = (error.strerror if isinstance(error, FFmpegError) else "") or "not part of this FFmpeg"
    if encoding.encoder == "libx264":
        return SpecError(
            field="clip_preset", what=f"libx264 does not accept {encoding.preset!r} ({why})"
        )
    what = (
        "h264_nvenc needs an NVIDIA GPU with a video encoder and a free encoding "
        f"session, which are not available ({why}); declare clip_encoder: libx264"
    )
    return SpecError(field="clip_encoder", what=what)

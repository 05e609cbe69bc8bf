"""Cut a clip by decoding and encoding: exactly the frames of the stretch."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from math import lcm
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from medassets.errors import SpecError
from medassets.video.clip_files import ClipEncoding, ClipPlan, reject_empty
from medassets.video.clip_pictures import PictureShaper
from medassets.video.clip_sound import SoundCutter
from medassets.video.clip_source import ClipSource, Shown
from medassets.video.timeline import Segment

# mp4 counts in 32 bits: at 10 MHz a frame may stay for 7 minutes.
_FINEST_HZ = 10_000_000
_COARSE_HZ = 1_000_000
_NVENC_PRESETS = {
    "ultrafast": "p1", "superfast": "p1", "veryfast": "p2", "faster": "p3", "fast": "p3",
    "medium": "p4", "slow": "p5", "slower": "p6", "veryslow": "p7", "placebo": "p7",
}  # fmt: skip

MUXING = {"fflags": "bitexact", "movflags": "+faststart"}
"""No creation time, no version of the library; playing can begin before the whole is there."""


def reencode(
    source: ClipSource, segment: Segment, encoding: ClipEncoding, target: Path
) -> ClipPlan:
    """Write the frames on screen within a segment, times counted from its begin.

    The first frame is shown from 0 on; each stays until the next, the last one until the segment or
    the video ends.

    Args:
        source: The open video.
        segment: The stretch.
        encoding: How to encode.
        target: File to write.

    Returns:
        What the file must turn out to hold.

    Raises:
        SampleRejectedError: END_BEYOND_DURATION if the video ends before the segment begins,
            DECODE_FAILED if nothing of it can be decoded.
        SpecError: If h264_nvenc is asked for where there is none.
    """
    with av.open(str(target), "w", format="mp4", container_options=MUXING) as output:
        writer = _ClipWriter(output, source, segment, encoding)
        end = writer.write()
    return ClipPlan(
        begin_ms=segment.begin_ms,
        end_ms=source.ruler.ceil_ms(end),
        lead_in_ms=0,
        num_packets=writer.num_frames,
        codec="h264",
        has_audio=writer.has_sound,
        is_copy=False,
    )


class _ClipWriter:
    """The streams of one clip in the making."""

    def __init__(
        self,
        output: OutputContainer,
        source: ClipSource,
        segment: Segment,
        encoding: ClipEncoding,
    ) -> None:
        self._output, self._source, self._segment = output, source, segment
        self._encoding = encoding
        self._begin, self._end = source.span(segment)
        self._shaper = PictureShaper(height=encoding.height)
        self._clock = _Clock(source, self._begin, _read_fps(encoding))
        self._durations: dict[int, int] = {}
        self._picture = _add_picture(output, encoding)
        self._sound: SoundCutter | None = None
        if source.audio is not None:
            ruler, begin = source.audio_ruler(), Fraction(segment.begin_ms, 1000)
            self._sound = SoundCutter(output, source.audio, ruler=ruler, begin=begin)
        self.num_frames = 0

    @property
    def has_sound(self) -> bool:
        return self._sound is not None and self._sound.num_samples > 0

    def write(self) -> int:
        """Encode everything; return the tick at which the last frame leaves the screen."""
        last = self._begin
        hear = self._sound.hear if self._sound is not None else None
        with closing(self._source.iter_shown(self._begin, self._end, hear=hear)) as frames:
            for shown in frames:
                last = shown.end if self._end is None else min(shown.end, self._end)
                self._write_shown(shown, last)
        if not self.num_frames:
            raise reject_empty(self._segment, self._source)
        self._mux(self._picture.encode(None))
        if self._sound is not None:
            self._output.mux(list(self._sound.finish(self._seconds(last))))
        return last

    def _write_shown(self, shown: Shown, last: int) -> None:
        picture: VideoFrame | None = None
        for pts, duration in self._clock.place(shown.begin, last, is_first=not self.num_frames):
            if picture is None:
                picture = self._shaper.shape(shown.frame)
            if not self.num_frames:
                self._start(picture)
            picture.pts, picture.time_base = pts, Fraction(1, self._clock.rate_hz)
            self._durations[pts] = duration
            self._mux(self._picture.encode(picture))
            self.num_frames += 1
        if self._sound is not None:
            self._output.mux(list(self._sound.encode_until(self._seconds(last))))

    def _start(self, picture: VideoFrame) -> None:
        """Open the encoder, now that size and colours are known."""
        context = self._picture.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        self._picture.time_base = context.time_base = Fraction(1, self._clock.rate_hz)
        context.framerate = (
            _read_fps(self._encoding) or self._source.video.average_rate or Fraction(25)
        )
        for name in ("color_range", "colorspace", "color_primaries", "color_trc"):
            setattr(context, name, int(getattr(picture, name)))
        ratio = self._source.video.sample_aspect_ratio
        if ratio:
            swaps = self._shaper.orientation.swaps_sides
            context.sample_aspect_ratio = 1 / ratio if swaps else ratio
        try:
            context.open()
        except FFmpegError as error:
            raise _no_encoder(self._encoding, error) from error

    def _mux(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            # The muxer would give the last frame the length of the one before it.
            packet.duration = self._durations.pop(packet.pts or 0)
            self._output.mux(packet)

    def _seconds(self, ticks: int) -> Fraction:
        return Fraction(ticks - self._begin, self._source.ruler.ticks_per_s)


class _Clock:
    """Places frames in the time of the clip."""

    def __init__(self, source: ClipSource, begin: int, fps: Fraction | None) -> None:
        self._ticks_per_s, self._begin, self._fps = source.ruler.ticks_per_s, begin, fps
        self._placed = 0
        self.rate_hz = fps.numerator if fps else choose_rate_hz(source.time_base)

    def place(self, begin: int, end: int, *, is_first: bool) -> Iterator[tuple[int, int]]:
        """Yield timestamp and duration of a frame, in units of `rate_hz`, as often as it comes."""
        if self._fps is None:
            pts = 0 if is_first else self._scale(begin)
            yield pts, max(self._scale(end) - pts, 1)
            return
        step = self._fps.denominator
        while self._placed * step * self._ticks_per_s < (end - self._begin) * self.rate_hz:
            yield self._placed * step, step
            self._placed += 1

    def _scale(self, ticks: int) -> int:
        return (ticks - self._begin) * self.rate_hz // self._ticks_per_s


def choose_rate_hz(time_base: Fraction) -> int:
    """Return a time scale of mp4 in which milliseconds and a stream's timestamps are whole.

    Where that would be finer than mp4 can count, microseconds.
    """
    rate_hz = lcm(time_base.denominator, 1000)
    return rate_hz if rate_hz <= _FINEST_HZ else _COARSE_HZ


def _read_fps(encoding: ClipEncoding) -> Fraction | None:
    return Fraction(str(encoding.fps)) if encoding.fps else None


def _add_picture(output: OutputContainer, encoding: ClipEncoding) -> VideoStream:
    options = {"preset": encoding.preset, "crf": str(encoding.crf)}
    if encoding.encoder == "h264_nvenc":
        preset = _NVENC_PRESETS.get(encoding.preset, encoding.preset)
        options = {"preset": preset, "rc": "vbr", "cq": str(encoding.crf), "b": "0"}
    stream = output.add_stream(encoding.encoder, options=options)
    assert isinstance(stream, VideoStream)
    # More threads make other bytes, and clips are cut beside each other anyway.
    stream.codec_context.thread_count = 1
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _no_encoder(encoding: ClipEncoding, error: FFmpegError) -> Exception:
    if encoding.encoder == "libx264":
        msg = f"clip_preset: libx264 does not take {encoding.preset!r} ({error.strerror})"
        return SpecError(msg)
    msg = (
        "clip_encoder: h264_nvenc needs an NVIDIA GPU with a video encoder and one of its sessions "
        f"free, and there is none here ({error.strerror}); declare clip_encoder: libx264"
    )
    return SpecError(msg)

"""A video read forward from the begin of a segment, with its sound beside it."""

from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.error import FFmpegError, InvalidDataError
from av.error import FileNotFoundError as FFmpegFileNotFoundError
from av.stream import Disposition
from av.video.frame import VideoFrame

from medassets.errors import Reason, SampleRejectedError
from medassets.video.timeline import Segment

_US_PER_S = 1_000_000
# The frame on screen at `begin` may hang on an earlier key frame than the nearest one: with an open
# GOP, or a recovery point that is none. So further back, and in the end from the start.
SEEK_BACK_MS = (0, 1_000, 5_000, 20_000)

Hear = Callable[[AudioFrame], None]


def _ignore() -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Ruler:
    """Exact integer ticks since the container's start time.

    Attributes:
        ticks_per_s: A multiple of milliseconds, microseconds and the stream's time base.
        step: Ticks of one unit of the stream's time base.
        origin: The container's start time, in ticks.
    """

    ticks_per_s: int
    step: int
    origin: int

    def at(self, pts: int) -> int:
        """Return the ticks of a timestamp of the stream."""
        return pts * self.step - self.origin

    def at_ms(self, ms: int) -> int:
        """Return the ticks of a time in milliseconds."""
        return ms * (self.ticks_per_s // 1000)

    def ceil_ms(self, ticks: int) -> int:
        """Return the first whole millisecond that is not before a time."""
        return -(-ticks * 1000 // self.ticks_per_s)

    def pts(self, ticks: int) -> int:
        """Return the last timestamp of the stream that is not after a time."""
        return (ticks + self.origin) // self.step


def make_ruler(time_base: Fraction, start_us: int | None) -> Ruler:
    """Return the ruler of a stream.

    Args:
        time_base: Seconds of one unit of its timestamps.
        start_us: The container's start time in microseconds, None where it has none.
    """
    ticks_per_s = lcm(time_base.denominator, _US_PER_S)
    return Ruler(
        ticks_per_s=ticks_per_s,
        step=ticks_per_s // time_base.denominator * time_base.numerator,
        origin=(start_us or 0) * (ticks_per_s // _US_PER_S),
    )


@dataclass(frozen=True)
class Shown:
    """One frame, and when it is on screen.

    Attributes:
        frame: As decoded.
        begin: First tick it is shown at.
        end: First tick it is not.
    """

    frame: VideoFrame
    begin: int
    end: int


class ClipSource:
    """An open video; a context manager.

    Attributes:
        video: The first video stream that is no attached picture.
        audio: The first sound, None where there is none or none is wanted.
        time_base: Seconds of one unit of the picture's timestamps.
        ruler: Ticks of the picture.
        shown_until: Ticks up to which pictures were decoded, None before the first.
    """

    def __init__(
        self, path: Path, *, audio: bool, on_progress: Callable[[], None] | None = None
    ) -> None:
        """Open a video.

        Args:
            path: The file.
            audio: Read the sound, too, if there is any.
            on_progress: Called for every packet that is read.

        Raises:
            SampleRejectedError: MISSING_SOURCE, NO_VIDEO_STREAM.
            av.error.FFmpegError: If the file is not a video.
        """
        self._path, self._wants_audio = path, audio
        self._on_progress = on_progress or _ignore
        self.shown_until: int | None = None
        self._open()

    def __enter__(self) -> "ClipSource":
        """Return the open video."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._container.close()

    def _open(self) -> None:
        try:
            self._container = av.open(str(self._path))
        except FFmpegFileNotFoundError as error:
            raise SampleRejectedError(Reason.MISSING_SOURCE, "the file is not there") from error
        streams = self._container.streams
        pictures = [s for s in streams.video if not s.disposition & Disposition.attached_pic]
        if not pictures:
            self._container.close()
            raise SampleRejectedError(Reason.NO_VIDEO_STREAM, "the file has no video stream")
        self.video = pictures[0]
        # The same bytes on any machine, and one core per worker process.
        self.video.codec_context.thread_count = 1
        sounds = [s for s in streams.audio if s.codec_context.sample_rate]
        self.audio = sounds[0] if self._wants_audio and sounds else None
        self.time_base = self.video.time_base or Fraction(1, 1000)
        self.ruler = make_ruler(self.time_base, self._container.start_time)
        self._read = [self.video] if self.audio is None else [self.video, self.audio]
        self._packets = self._container.demux(self._read)

    def audio_ruler(self) -> Ruler:
        """Return the ruler of the sound."""
        assert self.audio is not None
        time_base = self.audio.time_base or Fraction(1, self.audio.codec_context.sample_rate)
        return make_ruler(time_base, self._container.start_time)

    def span(self, segment: Segment) -> tuple[int, int | None]:
        """Return begin and end of a segment in ticks."""
        end_ms = segment.end_ms
        end = None if end_ms is None else self.ruler.at_ms(end_ms)
        return self.ruler.at_ms(segment.begin_ms), end

    def iter_packets(self) -> Iterator[av.Packet]:
        """Yield packets of picture and sound from where the reading stands."""
        for packet in self._packets:
            self._on_progress()
            # AVI has empty ones, and demuxing ends with one; they would end the decoding.
            if packet.size:
                yield packet

    def seek(self, ticks: int) -> bool:
        """Go to a key frame near a time, better before it; return whether that worked."""
        try:
            self._container.seek(self.ruler.pts(ticks), stream=self.video, backward=True)
        except (FFmpegError, OverflowError):
            return False
        self._packets = self._container.demux(self._read)
        return True

    def rewind(self) -> None:
        """Go to the first packet of the file."""
        self._container.close()
        self._open()

    def iter_shown(
        self, begin: int, end: int | None, *, hear: Hear | None = None
    ) -> Generator[Shown, None, None]:
        """Decode the frames on screen within [begin, end), in order.

        Args:
            begin: First tick.
            end: First tick after it, None goes to the end of the video.
            hear: Called with every decoded frame of sound met on the way, and after the last
                picture with what the file still holds of the stretch.
        """
        self._seek_before(begin)
        pending: tuple[VideoFrame, int] | None = None
        gap = 0
        for frame in self.iter_frames(hear):
            now = self.ruler.at(frame.pts or 0)
            self.shown_until = max(now, self.shown_until or 0)
            if pending is not None and now < pending[1]:
                continue
            if pending is not None and now > pending[1]:
                gap = now - pending[1]
                if now > begin:
                    yield Shown(pending[0], pending[1], now)
            pending = frame, now
            if end is not None and now >= end:
                self._hear_out(end, hear)
                return
        if pending is not None:
            last = self._close(*pending, gap=gap)
            self.shown_until = last.end
            if last.end > begin:
                yield last

    def _seek_before(self, begin: int) -> None:
        """Stand where decoding brings the frame that is on screen at `begin`."""
        if begin <= 0:
            return
        for back_ms in SEEK_BACK_MS:
            ticks = begin - self.ruler.at_ms(back_ms)
            if ticks <= 0 or not self.seek(ticks):
                break
            first = self._peek()
            if first is not None and first <= begin:
                self.seek(ticks)
                return
        self.rewind()

    def _peek(self) -> int | None:
        with suppress(InvalidDataError):
            for frame in self.iter_frames():
                return self.ruler.at(frame.pts or 0)
        return None

    def iter_frames(self, hear: Hear | None = None) -> Iterator[VideoFrame]:
        """Yield pictures from where the reading stands; frames of sound go to `hear`."""
        for packet in self.iter_packets():
            for frame in packet.decode():
                if hear is not None and isinstance(frame, AudioFrame):
                    hear(frame)
                elif isinstance(frame, VideoFrame) and frame.pts is not None:
                    yield frame
        if self.audio is not None and hear is not None:
            for frame in self.audio.decode(None):
                hear(frame)
        yield from (frame for frame in self.video.decode(None) if frame.pts is not None)

    def _hear_out(self, end: int, hear: Hear | None) -> None:
        """Decode the sound of the stretch that stands behind its last picture in the file."""
        if self.audio is None or hear is None:
            return
        ruler, seconds = self.audio_ruler(), Fraction(end, self.ruler.ticks_per_s)
        for packet in self.iter_packets():
            if packet.stream_index != self.audio.index:
                continue
            if packet.pts is not None and ruler.at(packet.pts) >= seconds * ruler.ticks_per_s:
                return
            for frame in packet.decode():
                if isinstance(frame, AudioFrame):
                    hear(frame)

    def _close(self, frame: VideoFrame, begin: int, *, gap: int) -> Shown:
        """Say how long the last frame of the video stays: its duration, or the last gap."""
        lasts = (frame.duration or 0) * self.ruler.step or gap
        rate = self.video.average_rate or Fraction(25)
        return Shown(frame, begin, begin + (lasts or int(self.ruler.ticks_per_s / rate)))

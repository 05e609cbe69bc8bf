"""Copy the streams of a segment from a key frame on: fast and lossless.

Frames before and after the segment that decoding needs are in the file, but an edit list hides
them: FFmpeg, and with it nearly every reader, displays exactly the frames of the segment.
"""

from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import ceil
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
from av.container import OutputContainer
from av.packet import Packet

from medassets.errors import Reason, SampleRejectedError
from medassets.video.clips.audio import AudioReader
from medassets.video.clips.edit_list import show_only
from medassets.video.clips.plan import MUXING, ClipEncoding, ClipPlan, choose_rate_hz
from medassets.video.clips.shown_frames import Ruler, make_ruler, reach
from medassets.video.files.reader import VideoReader
from medassets.video.frames.packet_plan import PacketRange, plan_decoding, read_packets
from medassets.video.requests import Progress
from medassets.video.timeline import Segment, Span, SpanRules, plan_span

# Codecs that players and FFmpeg read in mp4, and whose packets are one frame each.
_VIDEO_CODECS = frozenset({"av1", "h264", "hevc", "vp9"})
_AUDIO_CODECS = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})

# An edit begins at a signed 32-bit number; decoding times are some frames earlier.
_LONGEST_HIDDEN = 2**30

_NO_TIMES = "packets of this container and codec do not state when frames are displayed"
_HIDDEN = "some frames within it are not displayed"
_TWINS = "two frames with the same timestamp"


@dataclass(frozen=True)
class _Cut:
    """Which packets are copied.

    Attributes:
        span: The wanted frames.
        anchor: Where reading begins.
        chosen: Which of the packets read from there are copied, bool, shape (n,).
        first_pts: Timestamp of the first wanted frame.
        key_pts: Timestamp of the key frame that decoding begins with.
    """

    span: Span
    anchor: int | None
    chosen: npt.NDArray[np.bool_]
    first_pts: int
    key_pts: int


def copy_streams(
    video: Path, segment: Segment, encoding: ClipEncoding, target: Path, *, on_progress: Progress
) -> ClipPlan:
    """Copy the packets of a segment from the last key frame at or before its begin.

    Timestamps count from the segment's begin; packets before it have negative ones. An edit list
    hides these, and frames after the end that others depend on.

    Args:
        video: The source.
        segment: The segment.
        encoding: Whether audio is kept.
        target: File to write.
        on_progress: Called often.

    Returns:
        What the file must contain.

    Raises:
        SampleRejectedError: If the segment cannot be read, or cannot be copied into mp4.
        av.error.FFmpegError: If FFmpeg fails otherwise.
    """
    with ExitStack() as stack:
        reader = stack.enter_context(VideoReader(video))
        cut = _plan_cut(reader, segment, encoding.rules, on_progress)
        audio: AudioReader | None = None
        if encoding.audio:
            zero_s = reader.clock.origin_s + Fraction(segment.begin_ms, 1000)
            audio = AudioReader(video, zero_s=zero_s, on_progress=on_progress)
            stack.enter_context(audio)
            _check_audio(audio)
        output = av.open(str(target), "w", format="mp4", container_options=MUXING)
        stack.enter_context(output)
        plan = _Copier(output, reader, cut).copy(audio, on_progress)
        output.close()
        show_only(target, plan.end_ms - plan.begin_ms)
        return plan


def _plan_cut(
    reader: VideoReader, segment: Segment, rules: SpanRules, on_progress: Progress
) -> _Cut:
    if reader.codec not in _VIDEO_CODECS:
        raise _reject_codec(reader.codec, remedy="declare clips: reencode")
    if not reader.can_count_packets:
        raise _reject_times(_NO_TIMES)
    bounds = reach(reader.clock, segment)
    packets = read_packets(reader, *bounds, on_progress=on_progress)
    if packets.doubt:
        raise _reject_times(packets.doubt)
    span = plan_span(packets.timeline, segment, clock=reader.clock, rules=rules)
    chosen = _choose_packets(packets, span)
    key_pts = int(packets.pts[chosen.argmax()])
    first_pts = int(packets.timeline.pts[span.first])
    return _Cut(span, packets.anchor, chosen, first_pts, key_pts)


def _choose_packets(packets: PacketRange, span: Span) -> npt.NDArray[np.bool_]:
    """Return which packets are copied; the first of them is a key frame."""
    wanted: list[int] = packets.timeline.pts[span.first : span.stop].tolist()
    plan = plan_decoding(packets, wanted)
    key = int(plan.needed.argmax())
    chosen = np.zeros(len(packets.pts), np.bool_)
    chosen[key : plan.num_packets] = True
    # Pictures displayed before the key frame that they follow depend on the one before.
    chosen &= packets.pts >= packets.pts[key]
    hidden = packets.pts[chosen & packets.hidden]
    if (hidden >= wanted[0]).any():
        raise _reject_times(_HIDDEN)
    if any(a == b for a, b in pairwise(np.sort(packets.pts[chosen]).tolist())):
        raise _reject_times(_TWINS)
    return chosen


def _check_audio(audio: AudioReader) -> None:
    codec = audio.stream and audio.stream.codec_context.codec.canonical_name
    if codec and codec not in _AUDIO_CODECS:
        raise _reject_codec(codec, remedy="declare clip_audio: false, or clips: reencode")


class _Copier:
    """Copies packets from one file to another, with timestamps of the clip."""

    def __init__(self, output: OutputContainer, reader: VideoReader, cut: _Cut) -> None:
        self._output, self._reader, self._cut = output, reader, cut
        self._ruler: Ruler = make_ruler(reader.clock)
        self._origin = self._ruler.at_ms(cut.span.begin_ms)
        self._rate_hz = self._choose_rate_hz()
        # The decoder's own context includes the display matrix.
        self._picture = output.add_stream_from_template(reader.stream, opaque=True)
        self._picture.time_base = Fraction(1, self._rate_hz)
        self._undated: list[Packet] = []
        self._num_chosen = int(cut.chosen.sum())
        self._num_packets = 0

    def copy(self, audio: AudioReader | None, on_progress: Progress) -> ClipPlan:
        """Copy everything."""
        audio_copier = _AudioCopier(self._output, audio, self._end_s) if audio is not None else None
        packets = self._reader.iter_packets_at(self._cut.anchor)
        for packet, is_chosen in zip(packets, self._cut.chosen.tolist(), strict=False):
            on_progress()
            if is_chosen:
                self._undated.append(packet)
                if packet.dts is not None:
                    self._flush()
                    if audio_copier is not None:
                        audio_copier.copy_until(Fraction(self._place(packet.dts), self._rate_hz))
        self._flush()
        if audio_copier is not None:
            audio_copier.copy_until(self._end_s)
        return ClipPlan(
            begin_ms=self._cut.span.begin_ms,
            end_ms=self._cut.span.end_ms,
            num_packets=self._num_packets,
            num_frames=self._cut.span.num_frames,
            codec=self._reader.codec,
            has_audio=audio_copier is not None and audio_copier.has_copied,
            is_copy=True,
        )

    def _choose_rate_hz(self) -> int:
        """Return a time scale in which an edit list can store the duration of the lead-in."""
        rate_hz, ruler = choose_rate_hz(self._ruler.ticks_per_s), self._ruler
        hidden_s = (self._origin - ruler.at(self._cut.key_pts)) // ruler.ticks_per_s
        while hidden_s * rate_hz > _LONGEST_HIDDEN:
            rate_hz //= 10
        return rate_hz

    @property
    def _end_s(self) -> Fraction:
        span = self._cut.span
        return Fraction(span.end_ms - span.begin_ms, 1000)

    def _flush(self) -> None:
        """Write the packets that waited for the first decoding time; Matroska stores none.

        Source: libavformat gives a packet the earliest of the presentation times it has waited
        with, so that those before it can count back from there.
        """
        if not self._undated:
            return
        known = self._undated[-1].dts
        last = min(packet.pts or 0 for packet in self._undated) if known is None else known
        for index, packet in enumerate(reversed(self._undated)):
            packet.dts = last - index * max(packet.duration or 0, 1)
        for packet in self._undated:
            self._mux(packet)
        self._undated.clear()

    def _mux(self, packet: Packet) -> None:
        stop = self._place((packet.pts or 0) + (packet.duration or 0))
        pts, dts = self._place(packet.pts or 0), self._place(packet.dts or 0)
        if packet.pts == self._cut.first_pts:
            # It may be on screen before the segment begins, or the video begins later.
            pts, dts = 0, min(dts, 0)
        lasts = max(stop - pts, 0)
        self._num_packets += 1
        if self._num_packets == self._num_chosen:
            # mp4 computes the total duration from decoding times; it must reach the end.
            lasts = max(lasts, ceil(self._end_s * self._rate_hz) - dts)
        packet.pts, packet.dts, packet.duration = pts, dts, lasts
        packet.stream, packet.time_base = self._picture, Fraction(1, self._rate_hz)
        self._output.mux(packet)

    def _place(self, pts: int) -> int:
        return (self._ruler.at(pts) - self._origin) * self._rate_hz // self._ruler.ticks_per_s


class _AudioCopier:
    """Copies audio packets, up to the time that the video has reached."""

    def __init__(self, output: OutputContainer, audio: AudioReader, end_s: Fraction) -> None:
        self._output, self._end_s = output, end_s
        self._packets = audio.iter_packets()
        self._next = next(self._packets, None)
        self.has_copied = False
        if audio.stream is not None:
            self._stream = output.add_stream_from_template(audio.stream)
            self._rate_hz = audio.stream.codec_context.sample_rate

    def copy_until(self, seconds: Fraction) -> None:
        """Copy the packets that begin in the clip and before a time."""
        while self._next is not None and self._next[1] < min(seconds, self._end_s):
            packet, begin_s = self._next
            if begin_s >= 0:
                lasts_s = (packet.duration or 0) * packet.time_base
                packet.pts = packet.dts = round(begin_s * self._rate_hz)
                packet.duration = round(lasts_s * self._rate_hz)
                packet.stream, packet.time_base = self._stream, Fraction(1, self._rate_hz)
                self._output.mux(packet)
                self.has_copied = True
            self._next = next(self._packets, None)


def _reject_times(why: str) -> SampleRejectedError:
    detail = f"the segment cannot be copied ({why}); declare clips: reencode"
    return SampleRejectedError(Reason.DECODE_FAILED, detail)


def _reject_codec(codec: str, *, remedy: str) -> SampleRejectedError:
    detail = f"{codec} cannot be copied (common players do not support it in mp4); {remedy}"
    return SampleRejectedError(Reason.DECODE_FAILED, detail)

"""Cut a clip by copying its streams from a key frame on: quick, and nothing is lost."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import OutputContainer
from av.packet import Packet

from medassets.errors import Reason, SampleRejectedError
from medassets.video.clip_files import ClipPlan, reject_empty
from medassets.video.clip_reencode import MUXING, choose_rate_hz
from medassets.video.clip_source import SEEK_BACK_MS, ClipSource, Ruler
from medassets.video.timeline import Segment

# What players and FFmpeg both read in mp4; it can hold more than that in theory.
_PICTURES = frozenset({"av1", "h264", "hevc", "mpeg2video", "mpeg4", "vp9"})
_SOUNDS = frozenset({"aac", "ac3", "alac", "eac3", "flac", "mp3", "opus"})


def copy_streams(source: ClipSource, segment: Segment, target: Path) -> ClipPlan:
    """Write the packets of a stretch as they are, from the last key frame at or before its begin.

    Times are moved so that the segment's begin falls on a whole millisecond of the clip,
    `lead_in_ms`; the key frame is shown from 0 on, by less than a millisecond longer than in the
    source. Where frames are stored out of order, some after the end may be in the file, too.

    Args:
        source: The open video.
        segment: The stretch.
        target: File to write.

    Returns:
        What the file must turn out to hold.

    Raises:
        SampleRejectedError: DECODE_FAILED if mp4 cannot hold the codecs, or packets have no times;
            END_BEYOND_DURATION if the video ends before the segment begins.
    """
    _check_codecs(source)
    begin = source.span(segment)[0]
    key_pts = _find_key(source, begin)
    lead_in_ms = max(source.ruler.ceil_ms(begin - source.ruler.at(key_pts)), 0)
    with av.open(str(target), "w", format="mp4", container_options=MUXING) as output:
        copier = _Copier(output, source, segment, lead_in_ms=lead_in_ms)
        copier.copy(key_pts)
    if copier.end <= begin:
        source.shown_until = copier.end
        raise reject_empty(segment, source)
    return ClipPlan(
        begin_ms=segment.begin_ms,
        end_ms=source.ruler.ceil_ms(copier.end),
        lead_in_ms=lead_in_ms,
        num_packets=copier.num_packets,
        codec=source.video.codec_context.codec.canonical_name,
        has_audio=copier.has_sound,
        is_copy=True,
    )


def _check_codecs(source: ClipSource) -> None:
    picture = source.video.codec_context.codec.canonical_name
    if picture not in _PICTURES:
        raise _reject_codec(picture, remedy="declare clips: reencode")
    sound = source.audio and source.audio.codec_context.codec.canonical_name
    if sound and sound not in _SOUNDS:
        raise _reject_codec(sound, remedy="declare clip_audio: false, or clips: reencode")


def _find_key(source: ClipSource, begin: int) -> int:
    """Return the timestamp of the last key frame at or before a time; the reading stands before it.

    Where the video begins later, that of its first key frame.
    """
    for back_ms in SEEK_BACK_MS:
        ticks = begin - source.ruler.at_ms(back_ms)
        if ticks <= 0 or not source.seek(ticks):
            break
        if (pts := _scan(source, begin)) is not None:
            source.seek(ticks)
            return pts
    source.rewind()
    pts = _scan(source, begin)
    source.rewind()
    if pts is None:
        pts = next((p.pts for p in _iter_pictures(source) if p.is_keyframe), None)
        source.rewind()
    if pts is None:
        detail = "the video has no key frame to copy from; declare clips: reencode"
        raise SampleRejectedError(Reason.DECODE_FAILED, detail)
    return pts


def _scan(source: ClipSource, begin: int) -> int | None:
    key = None
    for packet in _iter_pictures(source):
        if packet.is_keyframe and source.ruler.at(_pts(packet)) <= begin:
            key = packet.pts
        if packet.dts is not None and source.ruler.at(packet.dts) > begin:
            break
    return key


def _iter_pictures(source: ClipSource) -> Iterator[Packet]:
    return (p for p in source.iter_packets() if p.stream_index == source.video.index)


class _Copier:
    """Moves packets from one file to another, with the times of the clip."""

    def __init__(
        self, output: OutputContainer, source: ClipSource, segment: Segment, *, lead_in_ms: int
    ) -> None:
        self._output, self._source = output, source
        begin, self._end = source.span(segment)
        self._origin = begin - source.ruler.at_ms(lead_in_ms)
        self._origin_s = Fraction(self._origin, source.ruler.ticks_per_s)
        self._picture = output.add_stream_from_template(source.video, opaque=True)
        self._rate_hz = choose_rate_hz(source.time_base)
        self._picture.time_base = Fraction(1, self._rate_hz)
        self._sound = output.add_stream_from_template(source.audio) if source.audio else None
        self._held: list[Packet] = []
        self._undated: list[Packet] = []
        self._is_whole = False
        self.num_packets = 0
        self.has_sound = False
        self.end = 0

    def copy(self, key_pts: int) -> None:
        """Copy everything from a key frame on."""
        pictures_started = False
        for packet in self._source.iter_packets():
            if packet.stream_index != self._source.video.index:
                if self._take_sound(packet) and self._is_whole:
                    break
                continue
            pictures_started |= packet.is_keyframe and packet.pts == key_pts
            # Pictures shown before the key frame they follow hang on the one before.
            if pictures_started and _pts(packet) >= key_pts and not self._is_whole:
                self._take_picture(packet)
            if self._is_whole and self._sound is None:
                break
        self._flush()

    def _take_picture(self, packet: Packet) -> None:
        """Write a picture, or hold it: one after the end is needed if one before it follows."""
        ruler = self._source.ruler
        if self._end is not None and ruler.at(_pts(packet)) >= self._end:
            self._is_whole = packet.dts is not None and ruler.at(packet.dts) >= self._end
            self.end = self._end
            self._held.append(packet)
            return
        for needed in (*self._held, packet):
            self._undated.append(needed)
            if needed.dts is not None:
                self._flush()
        self._held.clear()

    def _flush(self) -> None:
        """Write the pictures that waited for the first decode time; Matroska stores none.

        Source: libavformat gives a packet the earliest of the presentation times it has waited
        with, so that those before it can count back from there.
        """
        if not self._undated:
            return
        known = self._undated[-1].dts
        last = min(map(_pts, self._undated)) if known is None else known
        for index, packet in enumerate(reversed(self._undated)):
            packet.dts = last - index * max(packet.duration or 0, 1)
        for packet in self._undated:
            self._mux_picture(packet)
        self._undated.clear()

    def _mux_picture(self, packet: Packet) -> None:
        ruler, is_first = self._source.ruler, not self.num_packets
        end = ruler.at(_pts(packet)) + (packet.duration or 0) * ruler.step
        self.end = max(self.end, end if self._end is None else min(end, self._end))
        pts, dts = self._place(ruler, _pts(packet)), self._place(ruler, packet.dts or 0)
        packet.duration = self._place(ruler, _pts(packet) + (packet.duration or 0)) - pts
        packet.pts, packet.dts = (0, min(dts, 0)) if is_first else (pts, dts)
        packet.stream, packet.time_base = self._picture, Fraction(1, self._rate_hz)
        self._output.mux(packet)
        self.num_packets += 1

    def _place(self, ruler: Ruler, pts: int) -> int:
        return (ruler.at(pts) - self._origin) * self._rate_hz // ruler.ticks_per_s

    def _take_sound(self, packet: Packet) -> bool:
        """Write a packet of sound that begins in the clip; return whether it is past its end."""
        if self._sound is None or packet.pts is None:
            return False
        ruler = self._source.audio_ruler()
        seconds = Fraction(ruler.at(packet.pts), ruler.ticks_per_s)
        if self._end is not None and seconds >= Fraction(self._end, self._source.ruler.ticks_per_s):
            return True
        if seconds >= self._origin_s:
            rate_hz = self._sound.codec_context.sample_rate
            lasts = Fraction((packet.duration or 0) * ruler.step, ruler.ticks_per_s)
            packet.pts = packet.dts = round((seconds - self._origin_s) * rate_hz)
            packet.duration = round(lasts * rate_hz)
            packet.stream, packet.time_base = self._sound, Fraction(1, rate_hz)
            self._output.mux(packet)
            self.has_sound = True
        return False


def _pts(packet: Packet) -> int:
    if packet.pts is None:
        detail = "the video does not say when its frames are shown; declare clips: reencode"
        raise SampleRejectedError(Reason.DECODE_FAILED, detail)
    return packet.pts


def _reject_codec(codec: str, *, remedy: str) -> SampleRejectedError:
    detail = f"mp4 does not hold {codec} in a way that players read; {remedy}"
    return SampleRejectedError(Reason.DECODE_FAILED, detail)

"""Audio of a clip: cut at the sample and encoded as AAC, or read packet by packet to be copied."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.error import FFmpegError, InvalidDataError
from av.filter import Graph
from av.packet import Packet
from av.stream import Discard

from medassets.video.files.containers import open_container
from medassets.video.requests import Progress

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_BIT_RATE = 64_000
"""Bits per second and channel; transparent for speech and good for music."""

# Audio decoders need some preceding audio: Opus 80 ms, AAC one packet.
_RUN_UP_S = Fraction(1, 4)
_SEEKABLE_FORMATS = frozenset({"mp4", "matroska", "mpegts"})


class AudioReader:
    """The first audio stream of a video; a context manager.

    Attributes:
        stream: The stream, None if there is no audio.
    """

    def __init__(self, path: Path, *, zero_s: Fraction, on_progress: Progress) -> None:
        """Open a file and seek to a time.

        Args:
            path: The video.
            zero_s: The time, in seconds of the file's timestamps; times returned count from it.
            on_progress: Called for every packet.
        """
        self._container = open_container(path)
        self._on_progress = on_progress
        self._zero_s = zero_s
        streams = [s for s in self._container.streams.audio if s.codec_context is not None]
        self.stream: AudioStream | None = streams[0] if streams else None
        for stream in self._container.streams:
            if self.stream is None or stream.index != self.stream.index:
                stream.discard = Discard.all
        if self.stream is not None:
            self._seek(self.stream)

    def __enter__(self) -> "AudioReader":
        """Return the open reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._container.close()

    def _seek(self, stream: AudioStream) -> None:
        if _SEEKABLE_FORMATS.isdisjoint(self._container.format.name.split(",")):
            return
        start_s = (stream.start_time or 0) * _unit_s(stream)
        if self._zero_s - _RUN_UP_S > start_s:
            tick = (self._zero_s - _RUN_UP_S) // _unit_s(stream)
            self._container.seek(int(tick), stream=stream)

    def iter_packets(self) -> Iterator[tuple[Packet, Fraction]]:
        """Yield packets with their times in seconds."""
        if self.stream is None:
            return
        unit_s = _unit_s(self.stream)
        # After a read error the rest is silent; the video stream decides whether the clip fails.
        with suppress(FFmpegError):
            for packet in self._container.demux(self.stream):
                self._on_progress()
                if packet.size and packet.pts is not None:
                    yield packet, packet.pts * unit_s - self._zero_s

    def iter_frames(self) -> Iterator[tuple[AudioFrame, Fraction]]:
        """Yield decoded frames with their times in seconds."""
        if self.stream is None:
            return
        unit_s = _unit_s(self.stream)
        for packet in chain((packet for packet, _ in self.iter_packets()), [None]):
            # A damaged packet becomes silence; it is not a reason to reject the clip.
            with suppress(InvalidDataError):
                for frame in self.stream.decode(packet):
                    if frame.pts is not None and frame.samples:
                        yield frame, frame.pts * unit_s - self._zero_s


def _unit_s(stream: AudioStream) -> Fraction:
    return stream.time_base or Fraction(1, stream.codec_context.sample_rate)


class AudioEncoder:
    """Encodes the audio of a clip step by step, up to the time that the video has reached.

    Gaps of more than 0.1 s in the source are filled with silence, so that audio and video stay
    in sync.

    Attributes:
        num_samples: Samples of the source that were encoded.
    """

    def __init__(self, output: OutputContainer, reader: AudioReader) -> None:
        """Add an audio stream to a clip; the source must have audio.

        Args:
            output: The clip.
            reader: The audio, at the clip's begin.
        """
        assert reader.stream is not None
        context = reader.stream.codec_context
        rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        self._frames = reader.iter_frames()
        self._next = next(self._frames, None)
        self._graph: Graph | None = None
        self.num_samples = 0
        self._stream = output.add_stream("aac", rate=rate, layout=layout)
        self._stream.codec_context.bit_rate = _BIT_RATE * self._stream.codec_context.channels
        self._stream.codec_context.flags |= Flags.bitexact
        self._target = f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"

    def encode_until(self, end_s: Fraction, *, is_last: bool = False) -> Iterator[Packet]:
        """Yield packets up to a time of the clip; the last call cuts there and ends the stream."""
        while self._next is not None:
            frame, begin_s = self._next
            if begin_s >= end_s or not (is_last or _end_s(frame, begin_s) <= end_s):
                break
            yield from self._encode(frame, begin_s, end_s)
            self._next = next(self._frames, None)
        if is_last:
            if self._graph is not None:
                self._graph.push(None)
                yield from self._drain()
            yield from self._stream.encode(None)

    def _encode(self, frame: AudioFrame, begin_s: Fraction, end_s: Fraction) -> Iterator[Packet]:
        cut = _cut(frame, begin_s, end_s=end_s)
        if cut is None:
            return
        if self._graph is None:
            self._graph = self._build(cut)
        self._graph.push(cut)
        self.num_samples += cut.samples
        yield from self._drain()

    def _drain(self) -> Iterator[Packet]:
        assert self._graph is not None
        while True:
            try:
                frame = cast("AudioFrame", self._graph.pull())
            except (BlockingIOError, EOFError):
                return
            yield from self._stream.encode(frame)

    def _build(self, frame: AudioFrame) -> Graph:
        graph = Graph()
        graph.threads = 1
        source = graph.add_abuffer(
            sample_rate=frame.sample_rate,
            format=frame.format.name,
            layout=frame.layout.name,
            time_base=Fraction(1, frame.sample_rate),
        )
        graph.link_nodes(
            source,
            graph.add("aresample", "async=1:first_pts=0"),
            graph.add("aformat", self._target),
            graph.add("abuffersink"),
        )
        graph.configure()
        return graph


def _end_s(frame: AudioFrame, begin_s: Fraction) -> Fraction:
    return begin_s + Fraction(frame.samples, frame.sample_rate)


def _cut(frame: AudioFrame, begin_s: Fraction, *, end_s: Fraction) -> AudioFrame | None:
    """Return the samples within [0, end_s), timed in samples; None if there are none."""
    rate = frame.sample_rate
    skipped = max(-(begin_s * rate // 1), 0) if begin_s < 0 else 0
    kept = min(-((begin_s - end_s) * rate // 1), frame.samples)
    if kept <= skipped:
        return None
    samples: Any = frame.to_ndarray()
    step = 1 if frame.format.is_planar else frame.layout.nb_channels
    array = np.ascontiguousarray(samples[:, skipped * step : kept * step])
    cut = AudioFrame.from_ndarray(array, format=frame.format.name, layout=frame.layout.name)
    cut.sample_rate, cut.time_base = rate, Fraction(1, rate)
    cut.pts = round((begin_s + Fraction(skipped, rate)) * rate)
    return cut

"""The sound of a clip: cut at the sample, encoded as AAC beside the picture."""

from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import OutputContainer
from av.filter import Graph
from av.packet import Packet

from medassets.video.clip_source import Ruler

_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000)
_BIT_RATE = 64_000
"""Bits per second and channel; speech and music are clear at it."""


class SoundCutter:
    """Takes decoded sound and gives packets of the stretch, up to where the picture has come.

    Gaps of more than 0.1 s in the source are filled with silence, so that sound and picture stay
    together.
    """

    def __init__(
        self, output: OutputContainer, source: AudioStream, *, ruler: Ruler, begin: Fraction
    ) -> None:
        """Add a stream of sound to a clip.

        Args:
            output: The clip.
            source: Stream of the source.
            ruler: Its ticks.
            begin: Seconds from the container's start time that become 0 of the clip.
        """
        context = source.codec_context
        rate = context.sample_rate if context.sample_rate in _AAC_RATES else 48_000
        layout = "mono" if context.layout.nb_channels == 1 else "stereo"
        self._ruler, self._begin = ruler, begin
        self._waiting: deque[tuple[AudioFrame, Fraction, Fraction]] = deque()
        self._graph: Graph | None = None
        self.num_samples = 0
        self.stream = output.add_stream("aac", rate=rate, layout=layout)
        self.stream.codec_context.bit_rate = _BIT_RATE * self.stream.codec_context.channels
        self.stream.codec_context.flags |= Flags.bitexact
        self._target = f"sample_fmts=fltp:sample_rates={rate}:channel_layouts={layout}"

    def hear(self, frame: AudioFrame) -> None:
        """Take a decoded frame; those before the stretch are dropped."""
        if frame.pts is None or not frame.samples:
            return
        first = Fraction(self._ruler.at(frame.pts), self._ruler.ticks_per_s) - self._begin
        last = first + Fraction(frame.samples, frame.sample_rate)
        if last > 0:
            self._waiting.append((frame, first, last))

    def encode_until(self, seconds: Fraction) -> Iterator[Packet]:
        """Yield packets of the whole frames that end before a time of the clip."""
        while self._waiting and self._waiting[0][2] <= seconds:
            yield from self._encode(*self._waiting.popleft()[:2], end=seconds)

    def finish(self, seconds: Fraction) -> Iterator[Packet]:
        """Yield the packets that are left, cut at the end of the clip."""
        while self._waiting and self._waiting[0][1] < seconds:
            yield from self._encode(*self._waiting.popleft()[:2], end=seconds)
        if self._graph is not None:
            self._graph.push(None)
            yield from self._drain()
        yield from self.stream.encode(None)

    def _encode(self, frame: AudioFrame, first: Fraction, *, end: Fraction) -> Iterator[Packet]:
        cut = _cut(frame, first, end=end)
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
            yield from self.stream.encode(frame)

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


def _cut(frame: AudioFrame, first: Fraction, *, end: Fraction) -> AudioFrame | None:
    """Return the samples within [0, end), their first one's time in samples; None if none is."""
    rate = frame.sample_rate
    skipped = max(-(first * rate // 1), 0) if first < 0 else 0
    kept = min(-((first - end) * rate // 1), frame.samples)
    if kept <= skipped:
        return None
    samples: Any = frame.to_ndarray()
    step = 1 if frame.format.is_planar else frame.layout.nb_channels
    array = np.ascontiguousarray(samples[:, skipped * step : kept * step])
    cut = AudioFrame.from_ndarray(array, format=frame.format.name, layout=frame.layout.name)
    cut.sample_rate, cut.time_base = rate, Fraction(1, rate)
    cut.pts = round((first + Fraction(skipped, rate)) * rate)
    return cut

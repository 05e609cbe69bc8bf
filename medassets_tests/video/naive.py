"""A reference reader that decodes everything and selects frames by fractions, without our code."""

from dataclasses import dataclass
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True)
class NaiveVideo:
    """All frames of a video.

    Attributes:
        frames: As decoded, in the order they came out.
        times: When each is shown, in seconds from the container's start.
        end: When the last one ends.
    """

    frames: "list[VideoFrame]"
    times: list[Fraction]
    end: Fraction

    def shown(self, begin_ms: int, end_ms: int | None) -> list[int]:
        """Return the frames whose display interval meets [begin, end)."""
        begin, end = Fraction(begin_ms, 1000), self.end
        if end_ms is not None:
            end = Fraction(end_ms, 1000)
        ends = [*self.times[1:], self.end]
        spans = enumerate(zip(self.times, ends, strict=True))
        return [index for index, (at, gone) in spans if at < end and gone > begin]

    def chosen(self, begin_ms: int, end_ms: int | None, count: int = 16) -> list[int]:
        """Return `count` of them, by the floor of k n / count."""
        shown = self.shown(begin_ms, end_ms)
        return [shown[floor(Fraction(k * len(shown), count))] for k in range(count)]


def decode_naively(path: Path) -> NaiveVideo:
    """Decode all frames of the first video stream."""
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base
        assert base is not None
        start = min(
            one.start_time * one.time_base
            for one in container.streams
            if one.start_time is not None and one.time_base is not None
        )
        frames = list(container.decode(stream))
    times = [Fraction(frame.pts or 0) * base - start for frame in frames]
    assert times == sorted(times)
    last = frames[-1].duration * base if frames[-1].duration else times[-1] - times[-2]
    return NaiveVideo(frames, times, times[-1] + last)

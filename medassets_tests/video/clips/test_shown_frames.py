"""The frames of a segment with the times at which they are on screen, against a plain reading."""

from fractions import Fraction
from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.video.clips.shown_frames import ShownFrames, make_ruler, reach
from medassets.video.files.reader import VideoReader
from medassets.video.timeline import Clock, Segment, SpanRules
from medassets_tests.video.clips.shots import cut, decode_all, read_number

SEGMENTS = [Segment(0, None), Segment(1092, 1214), Segment(500, 520), Segment(2_380, 2_900)]
RULES = SpanRules(end_tolerance_ms=500)


def ignore() -> None:
    """Do nothing."""


@pytest.mark.parametrize("counts", [True, False])
@pytest.mark.parametrize("segment", SEGMENTS)
def test_frames_are_those_of_a_plain_reading(counts: bool, segment: Segment, video: Path) -> None:
    expected = cut(decode_all(video), segment.begin_ms, min(segment.end_ms or 2400, 2400))
    with VideoReader(video) as reader:
        ruler = make_ruler(reader.clock)
        frames = ShownFrames(reader, segment, RULES, counts=counts, on_progress=ignore)
        shown = [
            (one.begin, one.end, read_number(one.frame.reformat(format="gray").to_ndarray()))
            for one in frames.decode()
        ]
    at = [Fraction(time, ruler.ticks_per_s) for one in shown for time in one[:2]]
    begin = Fraction(segment.begin_ms, 1000)
    assert at == [time + begin for one in expected for time in one[:2]]
    assert [number for *_, number in shown] == [read_number(luma) for *_, luma in expected]


def test_a_segment_after_the_video_is_rejected(video: Path) -> None:
    with VideoReader(video) as reader, pytest.raises(SampleRejectedError) as caught:
        ShownFrames(reader, Segment(2_400, 3_000), RULES, counts=True, on_progress=ignore)
    assert caught.value.reason in (Reason.TOO_SHORT, Reason.END_BEYOND_DURATION)


@pytest.mark.parametrize(
    "clock",
    [Clock(Fraction(1, 90_000), Fraction(7, 5)), Clock(Fraction(1001, 30_000), Fraction(1, 3))],
)
def test_a_ruler_is_exact(clock: Clock) -> None:
    ruler = make_ruler(clock)
    for pts in (-3, 0, 1, 12_345):
        assert Fraction(ruler.at(pts), ruler.ticks_per_s) == pts * clock.time_base - clock.origin_s
    assert Fraction(ruler.at_ms(1_234), ruler.ticks_per_s) == Fraction(1_234, 1000)
    assert ruler.ceil_ms(ruler.at_ms(7)) == 7
    assert ruler.ceil_ms(ruler.at_ms(7) + 1) == 8


def test_a_segment_reaches_from_the_tick_before_to_the_tick_after() -> None:
    clock = Clock(Fraction(1, 30), Fraction(1))
    assert reach(clock, Segment(50, 90)) == (31, 33)
    assert reach(clock, Segment(100, None)) == (33, None)

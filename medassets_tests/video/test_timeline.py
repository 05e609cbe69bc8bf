"""Which frames a stretch shows: every answer as counted out frame by frame in fractions."""

import random
from fractions import Fraction
from itertools import pairwise
from math import floor

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.video.timeline import (
    LAST_TICK,
    Clock,
    Segment,
    Span,
    SpanRules,
    Timeline,
    choose_frames,
    group_segments,
    plan_span,
)

MS = Clock(Fraction(1, 1000), Fraction(0))
NTSC = Clock(Fraction(1001, 30_000), Fraction(0))
TOLERANT = SpanRules(min_frames=1, end_tolerance_ms=500)


def make_timeline(pts: list[int], end: int | None) -> Timeline:
    return Timeline(np.array(pts, np.int64), end)


def refuse(timeline: Timeline, segment: Segment, rules: SpanRules, clock: Clock = MS) -> Reason:
    with pytest.raises(SampleRejectedError) as caught:
        plan_span(timeline, segment, clock=clock, rules=rules)
    return caught.value.reason


@pytest.mark.parametrize("seed", range(40))
def test_a_span_is_every_frame_whose_interval_meets_the_segment(seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock(
        Fraction(rng.randrange(1, 50), rng.randrange(10, 90_000)), Fraction(rng.randrange(99), 7)
    )
    ticks = sorted(rng.sample(range(-50, 400), rng.randrange(2, 40)))
    end = ticks[-1] + rng.randrange(1, 30)
    times = [tick * clock.time_base - clock.origin_s for tick in [*ticks, end]]
    last_ms = floor(times[-1] * 1000)
    for _ in range(20):
        begin_ms = rng.randrange(-50, max(last_ms, -49))
        end_ms = begin_ms + rng.randrange(1, 200)
        shown = [
            index
            for index, (begins, ends) in enumerate(pairwise(times))
            if begins < Fraction(end_ms, 1000) and ends > Fraction(begin_ms, 1000)
        ]
        segment = Segment(begin_ms, end_ms)
        rules = SpanRules(end_tolerance_ms=1000)
        timeline = make_timeline(ticks, end)
        if not shown:
            assert refuse(timeline, segment, rules, clock) in (
                Reason.TOO_SHORT, Reason.END_BEYOND_DURATION,
            )  # fmt: skip
            continue
        span = plan_span(timeline, segment, clock=clock, rules=rules)
        assert list(range(span.first, span.stop)) == shown


def test_the_frame_on_screen_at_the_begin_is_the_first() -> None:
    timeline = make_timeline([0, 40, 80, 120], 160)
    assert plan_span(timeline, Segment(79, 81), clock=MS, rules=TOLERANT).first == 1
    assert plan_span(timeline, Segment(80, 81), clock=MS, rules=TOLERANT).first == 2
    # Half open: what appears at the end is not shown.
    assert plan_span(timeline, Segment(79, 80), clock=MS, rules=TOLERANT).num_frames == 1


def test_times_between_milliseconds_are_exact() -> None:
    timeline = make_timeline(list(range(100)), 100)
    # Frame 30 appears at 1.001 s exactly, frame 29 at 0.9676333...
    assert plan_span(timeline, Segment(1001, 1002), clock=NTSC, rules=TOLERANT).first == 30
    assert plan_span(timeline, Segment(1000, 1001), clock=NTSC, rules=TOLERANT).stop == 30
    assert plan_span(timeline, Segment(968, 1002), clock=NTSC, rules=TOLERANT).first == 29


def test_an_end_within_the_tolerance_is_that_of_the_video() -> None:
    timeline = make_timeline([0, 400, 800], 1000)
    assert plan_span(timeline, Segment(0, 1500), clock=MS, rules=TOLERANT) == Span(0, 3, 0, 1000)
    assert refuse(timeline, Segment(0, 1501), TOLERANT) is Reason.END_BEYOND_DURATION
    assert refuse(timeline, Segment(0, 1001), SpanRules()) is Reason.END_BEYOND_DURATION
    assert plan_span(timeline, Segment(0, None), clock=MS, rules=SpanRules()).end_ms == 1000


def test_an_end_of_the_video_between_milliseconds_is_rounded_up() -> None:
    timeline = make_timeline(list(range(10)), 10)
    assert plan_span(timeline, Segment(0, None), clock=NTSC, rules=TOLERANT).end_ms == 334
    assert plan_span(timeline, Segment(333, None), clock=NTSC, rules=TOLERANT).num_frames == 1


def test_a_begin_at_the_end_of_the_video_is_beyond_it() -> None:
    timeline = make_timeline([0, 400, 800], 1000)
    assert plan_span(timeline, Segment(999, 1000), clock=MS, rules=TOLERANT).first == 2
    for segment in (Segment(1000, 1100), Segment(1000, None), Segment(99_999, None)):
        assert refuse(timeline, segment, TOLERANT) is Reason.END_BEYOND_DURATION


def test_a_segment_without_length_or_frames_is_too_short() -> None:
    timeline = make_timeline([500, 900], 1000)
    for segment in (Segment(600, 600), Segment(600, 500), Segment(0, 500)):
        assert refuse(timeline, segment, TOLERANT) is Reason.TOO_SHORT
    rules = SpanRules(min_frames=2)
    assert refuse(timeline, Segment(600, 900), rules) is Reason.TOO_SHORT
    assert plan_span(timeline, Segment(600, 901), clock=MS, rules=rules).num_frames == 2


def test_a_segment_that_meets_a_hole_is_refused_and_its_neighbours_are_not() -> None:
    timeline = Timeline(np.array([0, 100, 600, 700]), None, ((101, 600), (800, LAST_TICK)))
    for segment in (Segment(0, 101), Segment(600, 800)):
        plan_span(timeline, segment, clock=MS, rules=TOLERANT)
    for segment in (Segment(0, 102), Segment(599, 700), Segment(700, 801), Segment(0, 5000)):
        assert refuse(timeline, segment, TOLERANT) is Reason.DECODE_FAILED
    assert refuse(timeline, Segment(0, None), TOLERANT) is Reason.DECODE_FAILED


@pytest.mark.parametrize("num_shown", [1, 2, 15, 16, 17, 31, 900, 21_766])
def test_frames_are_chosen_by_the_floor(num_shown: int) -> None:
    chosen = choose_frames(num_shown, num_frames=16, max_frames=512)
    assert chosen == [floor(Fraction(k * num_shown, 16)) for k in range(16)]


def test_all_frames_are_chosen_up_to_the_most() -> None:
    assert choose_frames(10, num_frames=0, max_frames=10) == list(range(10))
    assert choose_frames(11, num_frames=0, max_frames=10) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert choose_frames(25, num_frames=0, max_frames=10) == [k * 25 // 10 for k in range(10)]


def test_segments_that_overlap_or_nearly_touch_are_one_group() -> None:
    segments = [Segment(50_000, None), Segment(5_000, 20_000), Segment(0, 6_000),
                Segment(6_000, 7_000), Segment(29_000, 30_000), Segment(90_000, 91_000)]  # fmt: skip
    assert group_segments(segments, gap_ms=9_000) == [[2, 1, 3, 4], [0, 5]]
    assert group_segments(segments, gap_ms=8_999) == [[2, 1, 3], [4], [0, 5]]
    assert group_segments([], gap_ms=0) == []

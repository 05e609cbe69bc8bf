"""What a player shows, from frames as they came out of a decoder."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medassets.video.learning import DecodedNote, learn_timeline
from medassets.video.timeline import LAST_TICK, Timeline

PLAIN = DecodedNote(
    pts=0, dts=None, duration=10, is_key=False, is_b=False, is_corrupt=False, is_interlaced=False
)


def note(pts: int | None, marks: str = "", dts: int | None = None) -> DecodedNote:
    """Note a frame: K is a key frame, B hangs on later ones, X is damaged, I is interlaced."""
    return replace(
        PLAIN,
        pts=pts,
        dts=dts,
        is_key="K" in marks,
        is_b="B" in marks,
        is_corrupt="X" in marks,
        is_interlaced="I" in marks,
    )


def learn(
    notes: Sequence[DecodedNote | None], promised: Sequence[int] = (), *, is_end: bool = True
) -> tuple[Timeline, list[int]]:
    timeline, ordinals = learn_timeline(notes, promised, is_end=is_end)
    return timeline, ordinals.tolist()


def test_frames_in_order_are_shown_as_they_came() -> None:
    timeline, ordinals = learn([note(0, "K"), note(10), note(25)])
    assert timeline.pts.tolist() == [0, 10, 25]
    assert (ordinals, timeline.end, timeline.holes) == ([0, 1, 2], 35, ())


def test_the_last_gap_stands_for_a_missing_duration() -> None:
    timeline, _ = learn([note(0, "K"), replace(note(25), duration=0)])
    assert timeline.end == 50
    assert learn([replace(note(7, "K"), duration=0)])[0].end == 8


def test_where_the_video_goes_on_there_is_no_end() -> None:
    assert learn([note(0, "K"), note(10)], is_end=False)[0].end is None


def test_a_frame_that_comes_late_or_for_no_time_is_not_shown() -> None:
    timeline, ordinals = learn([note(0, "K"), note(20), note(10), note(20), note(30)])
    assert timeline.pts.tolist() == [0, 20, 30]
    assert ordinals == [0, 3, 4]


def test_made_up_presentation_times_give_way_to_those_of_packets() -> None:
    # AVI with H.264, as libavformat guesses: later packets are shown earlier.
    pts, dts = [1, 2, 4, 3, 5, 7, 6], [2, 3, 4, 5, 6, 7, None]
    notes = [replace(note(p, dts=d), duration=1) for p, d in zip(pts, dts, strict=True)]
    timeline, ordinals = learn(notes)
    assert timeline.pts.tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert ordinals == list(range(7))


def test_missing_presentation_times_are_those_of_packets() -> None:
    notes = [note(None, dts=0), note(None, dts=10), note(None)]
    assert learn(notes)[0].pts.tolist() == [0, 10, 20]


def test_from_a_packet_that_cannot_be_decoded_to_the_next_key_frame_is_a_hole() -> None:
    notes = [note(0, "K"), note(10), None, note(40), note(50, "K"), note(60)]
    timeline, _ = learn(notes)
    assert timeline.holes == ((11, 50),)
    assert timeline.end == 70


def test_frames_before_a_damaged_one_may_hang_on_it() -> None:
    notes = [note(0, "K"), note(10, "B"), note(20, "B"), note(30, "X"), note(40), note(50, "K")]
    assert learn(notes)[0].holes == ((10, 50),)
    notes[2] = note(20)
    assert learn(notes)[0].holes == ((30, 50),)


def test_a_promised_frame_that_did_not_come_is_damage() -> None:
    notes = [note(0, "K"), note(10), note(30), note(40, "K"), note(50)]
    assert learn(notes, [0, 10, 30, 20, 40, 50])[0].holes == ((20, 40),)
    assert learn(notes, [0, 10, 30, 40, 50])[0].holes == ()
    timeline, _ = learn(notes, [0, 10, 30, 40, 50, 60])
    assert timeline.holes == ((60, LAST_TICK),)
    assert timeline.end is None


def test_frames_shown_before_the_first_packet_are_no_loss() -> None:
    # Leading pictures of the key frame that a file begins with.
    notes = [note(20, "K"), note(30)]
    assert learn(notes, [20, 0, 10, 30])[0].holes == ()


def test_fields_promise_more_than_comes() -> None:
    notes = [note(0, "KI"), note(20, "I"), note(40, "I")]
    assert learn(notes, [0, 10, 20, 30, 40, 50])[0].holes == ()


@pytest.mark.parametrize("notes", [[], [None], [None, None]])
def test_nothing_decoded_is_nothing_shown(notes: list[DecodedNote | None]) -> None:
    timeline, ordinals = learn(notes)
    assert not len(timeline.pts)
    assert ordinals == []
    assert timeline.end is None
    assert len(timeline.holes) == bool(notes)

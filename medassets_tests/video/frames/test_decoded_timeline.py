"""What a player shows, from frames as they came out of a decoder."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from medassets.video.frames.decoded_timeline import (
    DecodedNote,
    learn_timeline,
    place_in_order,
)
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


def test_the_last_gap_replaces_a_missing_duration() -> None:
    timeline, _ = learn([note(0, "K"), replace(note(25), duration=0)])
    assert timeline.end == 50
    assert learn([replace(note(7, "K"), duration=0)])[0].end == 8


def test_where_the_video_goes_on_there_is_no_end() -> None:
    assert learn([note(0, "K"), note(10)], is_end=False)[0].end is None


def test_a_frame_that_comes_late_or_for_no_time_is_not_shown() -> None:
    timeline, ordinals = learn([note(0, "K"), note(20), note(10), note(20), note(30)])
    assert timeline.pts.tolist() == [0, 20, 30]
    assert ordinals == [0, 3, 4]


def test_a_step_back_changes_no_frame_far_from_it() -> None:
    notes = [note(10 * k, "K" * (k % 4 == 0), dts=10 * k + 5) for k in range(12)]
    steps = [*notes, note(95, "K", dts=125), note(105), note(120, "K"), note(130)]
    alone, together = learn(notes)[0], learn(steps)[0]
    assert together.pts.tolist() == [*alone.pts.tolist(), 120, 130]


def test_frames_of_a_container_that_only_counts_take_the_times_of_chunks_in_order() -> None:
    # As H.264 comes out of AVI: each frame tells the chunk it was in. Chunk 3 was empty.
    chunks = [0, 1, 2, 4, 5, 6]
    notes = [note(0, "K"), note(2), note(1), note(5), note(4), note(6)]
    placed = place_in_order(notes, chunks, is_end=True)
    assert [one.pts for one in placed if one is not None] == chunks
    assert learn(placed)[1] == list(range(6))


def test_where_a_chunk_gave_no_frame_a_container_that_only_counts_tells_no_more_times() -> None:
    chunks = list(range(100))
    # Each frame comes out with the chunk after the next.
    notes: list[DecodedNote | None] = [note(k, "K", dts=k + 2) for k in chunks if k != 60]
    placed = place_in_order(notes, chunks, is_end=True)
    assert [one.pts for one in placed if one is not None] == list(range(58))
    assert placed[-1] is None
    damaged = place_in_order([*notes[:28], None, *notes[30:]], chunks, is_end=True)
    assert [one.pts for one in damaged if one is not None] == list(range(26))
    assert damaged[-1] is None
    # A frame that is still in the decoder is no loss.
    placed = place_in_order(notes[:57], chunks[:59], is_end=False)
    assert [one.pts for one in placed if one is not None] == list(range(57))


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
    # What follows is not woven, whatever came before.
    plain = [*notes, note(60, "K"), note(80), note(100, "K")]
    assert learn(plain, [0, 10, 20, 30, 40, 50, 60, 70, 80, 100])[0].holes == ((70, 100),)


@pytest.mark.parametrize("notes", [[], [None], [None, None]])
def test_nothing_decoded_is_nothing_shown(notes: list[DecodedNote | None]) -> None:
    timeline, ordinals = learn(notes)
    assert not len(timeline.pts)
    assert ordinals == []
    assert timeline.end is None
    assert len(timeline.holes) == bool(notes)

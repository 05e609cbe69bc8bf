"""A row of the catalog as what encodes it reads it."""

import pytest

from medassets.video.catalog.clip_row import ClipRow, move_to_clip
from medassets.video.timeline import Segment

ROW = {
    "vid": "a", "transcript": "dig", "begin_ms": 1_000, "end_ms": 3_500, "from_ms": 1_000,
    "to_ms": 3_500, "size": [1.0], "row": 7, "duration_ms": 9_000,
}  # fmt: skip


def test_fields_are_the_columns_of_their_names() -> None:
    clip = ClipRow.read({**ROW, "key": "a_1000_3500", "codec": "h264"})
    assert {name: getattr(clip, name) for name in ROW} == ROW


def test_a_column_that_an_older_catalog_lacks_is_none() -> None:
    older = {name: value for name, value in ROW.items() if name not in ("row", "duration_ms")}
    clip = ClipRow.read(older)
    assert (clip.row, clip.duration_ms, clip.vid) == (None, None, "a")


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "duration_ms", "length_s"),
    [
        (1_000, 3_500, 9_000, 2.5),
        (0, None, 9_000, 9.0),
        (1_000, None, 9_000, 8.0),
        (0, None, None, None),
        (5_000, None, 4_000, 0.0),
    ],
)
def test_the_length_is_known_from_the_position_or_the_file(
    from_ms: int, to_ms: int | None, duration_ms: int | None, length_s: float | None
) -> None:
    times = {"from_ms": from_ms, "to_ms": to_ms, "duration_ms": duration_ms}
    clip = ClipRow.read({**ROW, **times})
    assert clip.length_s == length_s
    assert clip.segment == Segment(from_ms, to_ms)


def test_a_row_moved_to_its_clip_keeps_the_declared_position() -> None:
    clip = ClipRow.read(move_to_clip(ROW, 2_480))
    assert (clip.segment, clip.length_s) == (Segment(0, 2_480), 2.48)
    assert (clip.begin_ms, clip.end_ms) == (1_000, 3_500)
    assert ROW["from_ms"] == 1_000

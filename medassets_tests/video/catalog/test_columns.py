"""Excluding rows of a catalog while it is built."""

import pyarrow as pa

from medassets.video.catalog.columns import RECORD_SCHEMA, ClipColumns, exclude, one_chunk


def make_columns(*excluded: str | None) -> ClipColumns:
    rows = [
        {"row": number, "excluded": reason, "detail": reason and f"it is {reason}"}
        for number, reason in enumerate(excluded, start=1)
    ]
    return ClipColumns(*pa.Table.from_pylist(rows, schema=RECORD_SCHEMA).columns)


def test_the_first_reason_of_a_row_stays() -> None:
    columns = make_columns("bad", None, None)
    exclude(columns, pa.array([True, True, False]), reason="late", sentence=["too late"])
    exclude(columns, pa.array([True, True, True]), reason="long", sentence=["too long"])
    assert columns.excluded.to_pylist() == ["bad", "late", "long"]
    assert columns.detail.to_pylist() == [
        "it is bad",
        "metadata row 2: too late",
        "metadata row 3: too long",
    ]


def test_a_row_of_which_nothing_is_known_is_kept() -> None:
    columns = make_columns(None, None)
    exclude(columns, pa.array([None, True]), reason="late", sentence=["too late"])
    assert columns.excluded.to_pylist() == [None, "late"]


def test_reasons_and_sentences_may_differ_by_row() -> None:
    columns = make_columns(None, None, None)
    reasons = pa.array(["late", None, "long"])
    ends = pa.array([10, 20, 30])
    where = pa.array([True, False, True])
    exclude(columns, where, reason=reasons, sentence=["ends at ", ends, " ms"])
    assert columns.excluded.to_pylist() == ["late", None, "long"]
    assert columns.detail.to_pylist() == [
        "metadata row 1: ends at 10 ms",
        None,
        "metadata row 3: ends at 30 ms",
    ]


def test_a_column_in_pieces_becomes_one_array() -> None:
    pieces = pa.chunked_array([["a"], ["b", None]])
    assert one_chunk(pieces).to_pylist() == ["a", "b", None]
    assert one_chunk(one_chunk(pieces)).to_pylist() == ["a", "b", None]


def test_a_column_that_was_taken_out_is_freed() -> None:
    columns = make_columns(None)
    assert columns.pop("row").to_pylist() == [1]
    assert not hasattr(columns, "row")

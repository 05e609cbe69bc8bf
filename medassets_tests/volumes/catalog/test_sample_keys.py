"""Keys of samples follow from names of studies; of rows with one key, one keeps it."""

import re
from typing import Any

import pyarrow as pa
import pytest

from medassets.volumes.catalog.sample_keys import (
    exclude_repeats,
    make_distinct_key,
    make_sample_key,
    read_planned,
)


@pytest.mark.parametrize("name", ["train_1_a_1", "A-b_3", "12345", "x" * 90])
def test_a_name_that_can_be_a_key_is_one(name: str) -> None:
    assert make_sample_key(name) == name


@pytest.mark.parametrize("name", ["1.2.840/x", "Fall 3.größer", "", "a\nb", "x" * 91, "٣"])
def test_any_other_name_becomes_a_key_that_is_its_own(name: str) -> None:
    key = make_sample_key(name)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,90}", key, re.ASCII)
    assert key == make_sample_key(name)
    assert key not in (make_sample_key(name + " "), make_sample_key(name + "."))


def test_names_that_look_alike_as_keys_get_different_ones() -> None:
    names = ["a.b", "a_b", "a b", "a/b"]
    assert len({make_sample_key(name) for name in names}) == 4


def test_a_distinct_key_begins_with_the_name_and_depends_on_what_is_hashed() -> None:
    one, other = (make_distinct_key("a.b", of=text) for text in ("x", "y"))
    assert re.fullmatch(r"a_b-[0-9a-f]{16}", one)
    assert one != other
    assert len(make_distinct_key("x" * 200, of="x")) == 90


def test_samples_of_the_last_catalog_are_those_without_a_reason() -> None:
    rows = [
        {"key": "a", "path": "1/a", "excluded": None},
        {"key": "b", "path": "1/b", "excluded": "duplicate_row"},
    ]
    assert read_planned(pa.Table.from_pylist(rows)) == {"a": "1/a"}
    assert read_planned(None) == {}


def make_rows(*places: str, **changes: Any) -> list[dict[str, Any]]:
    shared = {"key": "a", "study_id": "a", "split": "train", "excluded": None, "detail": None}
    return [{**shared, "path": place, **changes} for place in places]


def test_the_first_row_keeps_the_key_and_the_others_name_it() -> None:
    rows = make_rows("x", "y")
    exclude_repeats(rows, {})
    assert (rows[0]["key"], rows[0]["excluded"]) == ("a", None)
    assert re.fullmatch(r"a-dup-[0-9a-f]{16}", rows[1]["key"])
    assert rows[1]["excluded"] == "duplicate_row"
    assert rows[1]["detail"].startswith("y: a ")
    assert rows[1]["detail"].endswith("x")


def test_the_row_that_had_the_key_before_keeps_it() -> None:
    rows = make_rows("x", "y", "z")
    exclude_repeats(rows, {"a": "z"})
    assert [row["key"] == "a" for row in rows] == [False, False, True]
    assert len({row["key"] for row in rows}) == 3


def test_a_usable_row_comes_before_an_excluded_one() -> None:
    excluded = make_rows("x", excluded="missing_report", detail="x: no report")
    rows = [*excluded, *make_rows("y")]
    exclude_repeats(rows, {"a": "x"})
    assert (rows[1]["key"], rows[1]["excluded"]) == ("a", None)
    assert (rows[0]["excluded"], rows[0]["detail"]) == ("missing_report", "x: no report")
    assert rows[0]["key"].startswith("a-dup-")


def test_rows_with_keys_of_their_own_are_left_as_they_are() -> None:
    rows = [*make_rows("x"), *make_rows("y", key="b")]
    before = [dict(row) for row in rows]
    exclude_repeats(rows, {"a": "y"})
    assert rows == before

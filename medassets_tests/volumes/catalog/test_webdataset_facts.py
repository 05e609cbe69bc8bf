"""What the json of a foreign sample says, in the columns of the catalog."""

import json
from typing import Any

import pytest

from medassets.volumes.catalog.webdataset_facts import (
    is_plain_name,
    parse_facts,
    read_columns,
    read_spacing,
    read_stated_columns,
    read_study_id,
    shorten,
)


def test_numbers_that_are_no_json_become_null() -> None:
    content = b'{"a": NaN, "b": Infinity, "c": 1e999, "d": -Infinity, "e": 0.5, "f": 7}'
    expected = {"a": None, "b": None, "c": None, "d": None, "e": 0.5, "f": 7}
    assert parse_facts(content) == expected


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"[1]", r"expected an object, got \[1\]"),
        (b'{"a": 1,}', "char"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a": "\\ud800"}', "surrogates"),
        (b"[" * 100_000, "nested too deeply"),
        (b"", "Expecting value"),
    ],
)
def test_what_is_no_json_object_is_named(content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        parse_facts(content)


@pytest.mark.parametrize(("value", "study"), [("a/1.2", "a/1.2"), (12345, "12345"), ("Ä", "Ä")])
def test_a_study_has_a_name_or_a_number(value: Any, study: str) -> None:
    assert read_study_id({"study_id": value}) == study


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (None, "the json gives no study_id"),
        ("", "the json gives no study_id"),
        (" ", "study_id: expected a name, got ' '"),
        (True, "expected a name, got True"),
        (1.5, r"expected a name, got 1\.5"),
        (["a"], r"expected a name, got \['a'\]"),
        ("a\nb", r"expected a name, got 'a\\nb'"),
        ("../a", r"expected a name, got '\.\./a'"),
    ],
)
def test_what_could_be_no_name_is_named(value: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_study_id({"study_id": value})


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [("a/b", True), ("a..b", True), ("a/../b", False), ("a\\..\\b", False), ("a\tb", False)],
)
def test_a_plain_name_cannot_leave_its_folder(name: str, is_plain: bool) -> None:
    assert is_plain_name(name) is is_plain


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"XYSpacing": "[0.75, 0.5]", "ZSpacing": 1.5}, [0.75, 0.5, 1.5]),
        ({"XYSpacing": [0.75, "0.5"], "ZSpacing": "2"}, [0.75, 0.5, 2.0]),
        ({"XYSpacing": 0.75, "ZSpacing": 1.5}, [0.75, 0.75, 1.5]),
        ({"XYSpacing": "0.75", "ZSpacing": 1.5}, [0.75, 0.75, 1.5]),
        ({"ZSpacing": 1.5, "spacing_mm": [1, 2, 3]}, [1.0, 2.0, 3.0]),
        ({"XYSpacing": "[4, 5]", "spacing_mm": [1, 2, 3]}, [1.0, 2.0, 3.0]),
        ({"XYSpacing": "[4, 5]", "ZSpacing": 6, "spacing_mm": [1, 2, 3]}, [4.0, 5.0, 6.0]),
        ({"geometry": {"output": {"spacing_mm": [3, 2.5, 1]}}}, [3.0, 2.5, 1.0]),
        ({"XYSpacing": "[4, 5]"}, [4.0, 5.0, None]),
        ({"XYSpacing": {"a": 1}}, [None, None, None]),
        ({"geometry": 7}, [None, None, None]),
        ({}, [None, None, None]),
    ],
)
def test_spacing_is_read_in_all_the_ways_it_is_written(
    facts: dict[str, Any], expected: list[float | None]
) -> None:
    assert read_spacing(facts) == expected


@pytest.mark.parametrize(
    ("dtype", "name"),
    [("int16", "int16"), (">i2", ">i2"), ("<i2", "int16"), ("float32", "float32")],
)
def test_shape_and_dtype_are_those_that_the_json_states(dtype: str, name: str) -> None:
    facts = {"shape": [5, 7, 11], "dtype": dtype}
    assert read_stated_columns(facts) == {"shape": [5, 7, 11], "array_dtype": name}


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"shape": [5, -7, 11], "dtype": "int16"}, r"shape: .* got \[5, -7, 11\]"),
        ({"shape": [5.0, 7, 11], "dtype": "int16"}, "shape: expected the sides"),
        ({"shape": [], "dtype": "int16"}, "shape: expected the sides"),
        ({"shape": [1] * 9, "dtype": "int16"}, "shape: expected the sides"),
        ({"shape": [1 << 31], "dtype": "int16"}, "shape: expected the sides"),
        ({"shape": "5x7x11", "dtype": "int16"}, "shape: expected the sides"),
        ({"shape": [5, 7, 11], "dtype": "object"}, "dtype: .*'object'"),
    ],
)
def test_a_shape_or_dtype_that_no_array_has_is_named(facts: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_stated_columns(facts)


def test_a_study_in_the_pattern_of_ct_rate_names_patient_and_scan() -> None:
    for ending in ("", ".nii.gz", ".nii", ".npz"):
        row = read_columns({}, f"train_5_b_2{ending}")
        named = (row["patient"], row["group"], row["scan"], row["reconstruction"])
        assert named == ("train_5", "train_5", "train_5_b", 2)
    row = read_columns({}, "study 7")
    named = (row["patient"], row["group"], row["scan"], row["reconstruction"])
    assert named == (None, "study 7", None, None)


def test_what_the_json_says_comes_before_the_name_of_the_study() -> None:
    facts = {"patient": 7, "scan": "x", "reconstruction": "3"}
    row = read_columns(facts, "train_5_b_2")
    named = (row["patient"], row["group"], row["scan"], row["reconstruction"])
    assert named == ("7", "7", "x", 3)
    assert read_columns({"reconstruction": 2.5}, "train_5_b_2")["reconstruction"] == 2


def test_metadata_is_what_has_no_column_of_its_own_unless_it_is_given() -> None:
    facts = {"study_id": "a", "shape": [5], "labels": {}, "XYSpacing": 1, "Manufacturer": "Ä"}
    assert json.loads(read_columns(facts, "a")["metadata"]) == {"XYSpacing": 1, "Manufacturer": "Ä"}
    given = {**facts, "metadata": {"b": 1, "a": None}}
    assert read_columns(given, "a")["metadata"] == '{"a":null,"b":1}'


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ({"Zebra": 1.0, "Affe": 0}, [1.0, 0.0]),
        ({"Zebra": "0.5", "Affe": 1}, [0.5, 1.0]),
        ({"Zebra": None, "Affe": 1}, None),
        ({"Zebra": True, "Affe": 1}, None),
        ({"Zebra": 1e39, "Affe": 1}, None),
    ],
)
def test_labels_keep_their_order_and_are_there_only_as_a_whole(
    labels: dict[str, Any], values: list[float] | None
) -> None:
    row = read_columns({"labels": labels}, "a")
    assert (row["label_names"], row["labels"]) == (["Zebra", "Affe"], values)


def test_a_long_value_is_shortened_and_shown_in_ascii() -> None:
    assert shorten("Ä") == "'\\xc4'"
    assert shorten("x" * 200) == "'" + "x" * 79 + "..."

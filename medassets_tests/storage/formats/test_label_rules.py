"""What declaration and json say of labels, and how a contradiction is named."""

from typing import Any

import numpy as np
import pytest

from medassets.storage.formats.label_rules import LabelError, LabelRules, StatedLabels


def test_a_declaration_is_parsed() -> None:
    declared = {"columns": ["A", "B"], "member": "y.npy", "dtype": "<i4", "values": [0, 1]}
    assert LabelRules.parse(declared) == LabelRules(("A", "B"), "y.npy", "int32", (0.0, 1.0))
    assert LabelRules.parse({}) == LabelRules()


@pytest.mark.parametrize(
    ("declared", "match"),
    [
        ({"colums": ["A"]}, "expected columns, member, dtype or values, got 'colums'"),
        ({"columns": "A"}, "columns: expected names of labels"),
        ({"columns": ["A", "A"]}, "columns: expected names of labels, each once"),
        ({"columns": [1]}, "columns: expected names of labels"),
        ({"member": ".cls"}, "member: expected a suffix"),
        ({"member": 3}, "member: expected a suffix"),
        ({"dtype": "str"}, "expected a type of numbers"),
        ({"values": ["0"]}, "values: expected the numbers"),
        ({"values": 1}, "values: expected the numbers"),
        ({"values": [float("nan")]}, "values: expected the numbers"),
    ],
)
def test_a_wrong_declaration_is_refused(declared: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        LabelRules.parse(declared)


@pytest.mark.parametrize(
    ("facts", "stated"),
    [
        ({}, StatedLabels()),
        ({"labels": None, "num_classes": "2"}, StatedLabels()),
        ({"labels": {}, "num_classes": True}, StatedLabels()),
        ({"num_classes": 2}, StatedLabels(count=2)),
        ({"labels": {"A": 0, "B": "1"}}, StatedLabels(("A", "B"), (0.0, 1.0))),
        ({"labels": {"A": True, "B": "yes"}}, StatedLabels(("A", "B"), (1.0, None))),
        ({"labels": [0, 1]}, StatedLabels(None, (0.0, 1.0))),
        ({"labels": ["A", "B"]}, StatedLabels()),
        ({"labels": [0, 1], "label_names": ["A", "B"]}, StatedLabels(("A", "B"), (0.0, 1.0))),
        ({"labels": {"A": 0, "B": 1}, "label_names": ["B", "A"]}, StatedLabels(("B", "A"), (1, 0))),
        ({"labels": 3}, StatedLabels(None, (3.0,))),
        ({"labels": True}, StatedLabels()),
    ],
)
def test_a_json_states_names_values_and_count(facts: dict[str, Any], stated: StatedLabels) -> None:
    assert StatedLabels.read(facts) == stated


def test_stated_labels_follow_the_order_of_the_dataset() -> None:
    stated = StatedLabels(("B", "A", "C"), (1.0, 0.0, 0.5), 3)
    assert stated.order(("A", "B")).values == (0.0, 1.0)
    other = ("X", "Y", "Z")
    assert stated.order(other, may_rename=True) == StatedLabels(other, (1.0, 0.0, 0.5), 3)
    assert stated.order(None) is stated
    for names in (("A", "X", "Y"), ("X",), other):
        with pytest.raises(LabelError, match="the json names the labels B, A, C, not "):
            stated.order(names)


def test_another_order_without_values_that_prove_it_is_refused() -> None:
    for values in (None, (1.0, None)):
        with pytest.raises(LabelError, match="the json names the labels B, A, not A, B"):
            StatedLabels(("B", "A"), values).order(("A", "B"), may_rename=True)


@pytest.mark.parametrize(
    ("facts", "match"),
    [
        ({"label_names": ["A", "A"]}, "the json names the labels A, A; A occurs twice"),
        ({"label_names": ["A", "B"], "labels": {"A": 1, "C": 0}}, "A, B, but its labels are A, C"),
        ({"label_names": ["A", "B"], "labels": [0, 1, 1]}, "A, B, but 3 values"),
    ],
)
def test_a_json_that_contradicts_itself_is_refused(facts: dict[str, Any], match: str) -> None:
    stated = StatedLabels.read(facts)
    assert stated.names is None
    assert match in str(stated.contradicts(np.array([1.0, 0.0])))
    with pytest.raises(LabelError, match=match):
        stated.order(("A", "B"))


@pytest.mark.parametrize(
    ("label_type", "stated", "is_same"),
    [
        ("float32", 223456.777, True),
        ("float32", 1e-7, True),
        ("float16", 12.34, True),
        ("float16", 12.36, False),
        ("float64", 0.1, True),
        ("float32", 223456.7, False),
    ],
)
def test_a_fraction_is_compared_in_the_rounding_of_its_type(
    label_type: str, stated: float, is_same: bool
) -> None:
    right = {223456.7: 223456.777, 12.36: 12.34}.get(stated, stated)
    values = np.array([right], label_type).astype(np.float64)
    found = StatedLabels(None, (stated,)).contradicts(values, label_type)
    assert (found is None) == is_same


def test_a_fraction_near_zero_is_not_the_next_one() -> None:
    assert StatedLabels(None, (0.0001,)).contradicts(np.array([0.0004])) is not None


@pytest.mark.parametrize(
    ("value", "is_class"), [(5.0, True), (9.0, True), (10.0, False), (-1.0, False), (0.5, False)]
)
def test_one_class_of_several_is_no_contradiction(value: float, is_class: bool) -> None:
    stated, values = StatedLabels(count=10), np.array([value])
    assert (stated.contradicts(values, "text", may_be_index=True) is None) == is_class
    message = str(stated.contradicts(values, "float32"))
    assert message.endswith("but the json states 10 classes")


@pytest.mark.parametrize(
    ("stated", "values", "match"),
    [
        (StatedLabels(("A", "B"), (0.0, 1.0)), [0, 1], None),
        (StatedLabels(("A", "B"), (0.0, None)), [0, 7], None),
        (StatedLabels(("A", "B"), (0.123, 1.0)), [0.12345, 1], None),
        (StatedLabels(("A", "B"), (0.0, 1.0)), [0, 1.4e-45], "B is 1.4e-45, but 1 in the json"),
        (StatedLabels(("A", "B"), (0.0, 1.0)), [1e-30, 1], "A is 1e-30, but 0 in the json"),
        (StatedLabels(None, (0.0, 1.0)), [1, 1], "label 0 is 1, but 0 in the json"),
        (StatedLabels(count=3), [1, 1], r"2 labels \(1, 1\), but the json states 3"),
        (StatedLabels(("A",), None, 1), [1, 1], "but the json states 1"),
        (StatedLabels(("A", "B"), None, 3), [1, 1], "but the json states 3"),
    ],
)
def test_a_contradiction_is_named(
    stated: StatedLabels, values: list[float], match: str | None
) -> None:
    found = stated.contradicts(np.array(values, np.float64))
    assert (found is None) == (match is None)
    if match is not None:
        with pytest.raises(ValueError, match=match):
            raise ValueError(found)


def test_values_outside_the_declaration_are_named() -> None:
    rules = LabelRules(values=(0, 1, 0.1))
    rules.check_values([0, 1, float(np.float32(0.1))])
    with pytest.raises(LabelError, match=r"label 1 is 2; the declaration allows 0, 1, 0\.1"):
        rules.check_values([0, 2])

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
    ],
)
def test_a_json_states_names_values_and_count(facts: dict[str, Any], stated: StatedLabels) -> None:
    assert StatedLabels.read(facts) == stated


def test_stated_labels_follow_the_order_of_the_dataset() -> None:
    stated = StatedLabels(("B", "A", "C"), (1.0, 0.0, 0.5), 3)
    assert stated.order(("A", "B")).values == (0.0, 1.0)
    assert stated.order(("X", "Y", "Z")) == StatedLabels(("X", "Y", "Z"), (1.0, 0.0, 0.5), 3)
    assert stated.order(None) is stated
    for names in (("A", "X", "Y"), ("X",)):
        with pytest.raises(LabelError, match="the json names the labels B, A, C, not "):
            stated.order(names)


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

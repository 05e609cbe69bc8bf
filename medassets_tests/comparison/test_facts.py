"""Jsons against what they speak of: every form of a right value passes, a wrong one is named."""

from typing import Any

import numpy as np
import pytest

from medassets.comparison.facts import compare_labels, compare_report, compare_volume_facts

LABELS = np.array([0.1, 1, np.nan, -0.0], "<f4").tobytes()
OURS: dict[str, Any] = {"fingerprint": "f", "preprocessing": {"preset": "none"}}
ORIGINAL: dict[str, Any] = {
    "XYSpacing": "[0.75, 0.75]",
    "ZSpacing": "1.5",
    "RescaleSlope": "1",
    "RescaleIntercept": -1024,
}
SHAPE = (5, 6, 7)


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"labels": {}, "num_classes": None},
        {"labels": {"a": "yes"}},
        {"labels": [1, 2]},
        {"labels": {"a": 0.1, "b": True, "c": None, "d": 0}, "num_classes": 4},
        {"labels": {"a": 0.10000000149011612, "b": 1.0, "c": 1e39, "d": 0}, "num_classes": "4"},
        {"labels": {"a": 0.1, "b": 1, "c": 10**400, "d": 0}},
    ],
)
def test_labels_that_are_right_or_no_numbers_pass(facts: dict[str, Any]) -> None:
    assert compare_labels(facts, LABELS) == []


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"num_classes": 3}, "json: num_classes is 3, the sample has 4 labels"),
        ({"labels": {"a": 1}}, "json: it gives 1 labels, the sample has 4"),
        ({**OURS, "labels": {}}, "json: it gives 0 labels, the sample has 4"),
        (
            {"labels": {"a": 0.1, "b": None, "c": 0, "d": 0}},
            "label 'b' is None, the sample's own is 1",
        ),
        ({"labels": {"a": 0.1, "b": 1, "c": 0, "d": 0}}, "label 'c' is 0, the sample's own is nan"),
        ({"labels": {"a": 0.1000001, "b": 1, "c": None, "d": 0}}, "label 'a' is 0.1000001"),
    ],
)
def test_labels_that_are_not_the_samples_own_are_named(facts: dict[str, Any], words: str) -> None:
    (difference,) = compare_labels(facts, LABELS)
    assert words in difference


def test_labels_that_are_no_float32_are_left_to_the_comparison_of_members() -> None:
    assert compare_labels({"num_classes": 3}, b"12345") == []


def test_a_report_is_compared_where_both_give_one() -> None:
    original = {"report": {"findings": " Clear. ", "impressions": "Not given."}}
    for facts in (
        {},
        {"report": "text"},
        {"report": {"findings": "Clear."}},
        {**OURS, "report": {"findings": "Clear.", "impressions": None}},
    ):
        assert compare_report(facts, original) == []
    assert compare_report({"report": {"findings": "x"}}, {}) == []
    for facts in ({"report": {"findings": None}}, {**OURS, "report": {}}, {**OURS, "report": 3}):
        (difference,) = compare_report(facts, original)
        assert difference == "json: report.findings is None, the original's is 'Clear.'"


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"XYSpacing": [0.75, 0.75], "ZSpacing": 1.5, "spacing_mm": "[0.75, 0.75, 1.5]"},
        {"XYSpacing": 0.75, "RescaleSlope": 1.0, "RescaleIntercept": "-1024.0"},
        {"original_shape": [5, 6, 7], "geometry": {"source": {"shape": [5, 6, 7]}}},
        {"original_shape": None, "geometry": [], "hu": "table"},
        {"hu": {"rule": "none", "slope": 7}},
        {"hu": {"rule": "table", "slope": 1, "intercept": -1024.0}},
        {"geometry": {"source": {"spacing_from": "header", "spacing_mm": [0.7500001, 0.75, 1.5]}}},
    ],
)
def test_one_number_in_any_form_is_the_same(facts: dict[str, Any]) -> None:
    assert compare_volume_facts(facts, ORIGINAL, shape=SHAPE, is_stored=True) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("XYSpacing", [0.75, 0.7500001]),
        ("XYSpacing", None),
        ("XYSpacing", "broken"),
        ("ZSpacing", 1.25),
        ("spacing_mm", [0.75, 1.5]),
        ("RescaleSlope", 10**400),
        ("RescaleIntercept", "abc"),
        ("original_shape", [7, 6, 5]),
        ("hu", {"rule": "table", "slope": None}),
        ("geometry", {"source": {"spacing_mm": [0.75, 0.75, 3]}}),
        ("geometry", {"source": {"shape": "x"}}),
    ],
)
def test_another_number_is_named(name: str, value: Any) -> None:
    (difference,) = compare_volume_facts({name: value}, ORIGINAL, shape=SHAPE, is_stored=True)
    assert difference.startswith(f"json: {name}")


def test_names_of_raw_samples_are_not_compared_where_the_volume_was_resampled() -> None:
    """Scripts write there what the volume is now, or what it was."""
    facts = {"XYSpacing": "[1, 1]", "ZSpacing": 2, "spacing_mm": [1, 1, 2], "RescaleIntercept": 0}
    assert compare_volume_facts(facts, ORIGINAL, shape=SHAPE, is_stored=False) == []
    assert len(compare_volume_facts(facts, ORIGINAL, shape=SHAPE, is_stored=True)) == 4


def test_what_is_copied_of_an_original_that_contradicts_itself_passes() -> None:
    copied = {"XYSpacing": "[0.8, 0.8]", "original_shape": [512, 512, 300]}
    original = {**copied, "spacing_mm": [0.7, 0.7, 1]}
    facts = {**copied, "ZSpacing": 1, "spacing_mm": [0.7, 0.7, 1]}
    assert compare_volume_facts(facts, original, shape=SHAPE, is_stored=True) == []
    stated = {**facts, "XYSpacing": "[0.9, 0.9]"}
    assert len(compare_volume_facts(stated, original, shape=SHAPE, is_stored=True)) == 1

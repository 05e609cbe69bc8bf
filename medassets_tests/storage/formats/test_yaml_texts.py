"""YAML is bounded before its values are made, and gives the values that the reader gives."""

import pytest
import yaml

from medassets.storage.formats.yaml_texts import load_bounded


@pytest.mark.parametrize(
    "text", ["a: [1, 2.5, x]\nb: {c: 2026-01-02}\n", "", "1:30", "'" + "9" * 5000 + "'"]
)
def test_a_usual_text_is_loaded_as_before(text: str) -> None:
    assert load_bounded(text.encode()) == yaml.safe_load(text)
    assert load_bounded(text.encode("utf-16")) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a:\n  b: 1" + ":59" * 50_000, "a number of at most 100 characters, got 150,001"),
        ("a: " + "9" * 5000, "a number of at most 100 characters, got 5,000"),
        ("a: !!float '1" + ":59" * 5000 + "'", "a number of at most 100"),
        ("9" * 101 + ": a", "a number of at most 100"),
        ("a: 0x" + "f" * 5000, "a number of at most 100"),
        ("a: " + "x" * 70_000, "a text of at most 65,536 characters, got 70,000"),
        ("a: " + "[" * 101, "nested more than 100 deep"),
        ("a: &a [*a]", "stand for more than"),
    ],
)
@pytest.mark.timeout(20)
def test_what_exceeds_a_bound_is_refused(text: str, what: str) -> None:
    with pytest.raises(yaml.YAMLError, match=what):
        load_bounded(text.encode())

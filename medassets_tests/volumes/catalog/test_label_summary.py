"""What a catalog tells people of its labels."""

import pyarrow as pa
import pytest

from medassets.errors import SpecError
from medassets.specs import VolumeDatasetSpec
from medassets.storage.formats.label_rules import LabelRules
from medassets.volumes.catalog.label_summary import (
    SUMMARY_KEY,
    LabelSummary,
    count_values,
    describe_counts,
    find_doubts,
    read_label_rules,
    read_summary,
)


def test_names_may_be_declared_in_two_fields_if_they_are_the_same() -> None:
    spec = VolumeDatasetSpec(name="d", labels={"columns": ("A", "B")}, label_names=("A", "B"))
    assert read_label_rules(spec).columns == ("A", "B")
    with pytest.raises(SpecError, match=r"^labels: expected a mapping"):
        read_label_rules(VolumeDatasetSpec(name="d", labels=["A"]))  # pyright: ignore[reportArgumentType]


def test_values_are_counted_by_name_from_the_smallest_on() -> None:
    counts = count_values([(1, 0.5), (0, 10), (1, 2)], ["A", "B"])
    assert counts == {"A": {"0": 1, "1": 2}, "B": {"0.5": 1, "2": 1, "10": 1}}
    assert [*counts["B"]] == ["0.5", "2", "10"]
    assert describe_counts(counts["A"]) == "0 x 1, 1 x 2"
    many = {f"{n / 100:g}": 1 for n in range(50)}
    assert describe_counts(many) == "50 values from 0 to 0.49"


def test_values_beyond_0_and_1_are_doubted_until_they_are_declared() -> None:
    counts = {"A": {"0": 3, "1": 4}, "B": {"-1": 1, "1": 1}, "C": {"0.3": 1}}
    (doubt,) = find_doubts(counts, LabelRules())
    assert doubt.startswith("B has values beyond 0 and 1: -1 x 1, 1 x 1; ")
    assert find_doubts(counts, LabelRules(values=(-1, 0, 1))) == []


def test_a_summary_is_stored_with_the_catalog_and_merged_over_splits() -> None:
    one = LabelSummary(["A"], None, {"A": {"0": 1, "10": 2}}, ["odd"])
    other = LabelSummary(["A"], None, {"A": {"2": 1, "0": 1}}, ["odd"])
    both = one.merge(other)
    assert both == LabelSummary(["A"], None, {"A": {"0": 2, "2": 1, "10": 2}}, ["odd"])
    assert [*both.counts["A"]] == ["0", "2", "10"]
    table = pa.table({"key": ["a"]}).replace_schema_metadata({SUMMARY_KEY: both.encode()})
    found = read_summary(table)
    assert found == both
    assert found is not None
    assert [*found.counts["A"]] == ["0", "2", "10"]
    assert read_summary(pa.table({"key": ["a"]})) is None
    assert both.describe() == {
        "label_values": {"A": "0 x 2, 2 x 1, 10 x 2"},
        "label_doubts": ["odd"],
    }


def test_values_that_are_nearly_0_are_doubted_as_a_wrong_type() -> None:
    counts = count_values([(0, 1), (1.4e-45, 1)], ["A", "B"])
    (doubt,) = find_doubts(counts, LabelRules(label_type="float32"))
    assert doubt.startswith(
        "A has values that are nearly 0, as whole numbers have that are read as"
    )
    assert "0 x 1, 1.4" in doubt

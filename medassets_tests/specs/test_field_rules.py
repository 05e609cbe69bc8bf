"""A rule says with which values of other fields a field has an effect."""

from dataclasses import dataclass, field

from medassets.specs import DatasetSpec, FieldRule
from medassets.specs.field_rules import describe_use, list_changed, list_unmet

RULES = [
    FieldRule(frozenset({"name"})),
    FieldRule(frozenset({"folder"}), {"source": ("folder", "npz")}),
    FieldRule(frozenset({"folder", "splits"}), {"runs": ("single",), "source": ("tars",)}),
]


@dataclass(frozen=True, kw_only=True)
class Spec(DatasetSpec):
    extra: dict[str, str] = field(default_factory=dict)


def test_a_field_without_conditions_always_has_an_effect() -> None:
    assert list_unmet("name", Spec(name="it"), RULES) == []
    assert describe_use("name", RULES) == ""


def test_one_rule_that_holds_is_enough() -> None:
    assert list_unmet("folder", Spec(name="it", source="npz"), RULES) == []
    assert list_unmet("folder", Spec(name="it", source="tars", runs="single"), RULES) == []


def test_the_rule_that_is_nearest_to_hold_says_what_is_unmet() -> None:
    assert list_unmet("folder", Spec(name="it", source="tars"), RULES) == ["source: tars"]
    unmet = list_unmet("splits", Spec(name="it", source="npz"), RULES)
    assert unmet == ["runs: per-shard", "source: npz"]


def test_all_uses_of_a_field_are_described() -> None:
    assert describe_use("folder", RULES) == "source: folder or npz; or runs: single, source: tars"


def test_a_field_without_a_rule_never_has_an_effect() -> None:
    assert list_unmet("extra", Spec(name="it"), RULES) is None
    assert describe_use("extra", RULES) is None


def test_only_values_other_than_the_default_are_changed() -> None:
    assert list_changed(Spec(name="it")) == ["name"]
    assert list_changed(Spec(name="it", source="npz", extra={"a": "b"})) == [
        "name",
        "source",
        "extra",
    ]

"""Fields of every source of CT volumes; the message of a wrong one begins with its name."""

from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import CTSourceSpec
from medassets_tests.declarations import TARS, make_spec


def make_source_spec(**changes: object) -> CTSourceSpec:
    return CTSourceSpec(**{"name": "ct", **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"hu_rule": "twice"}, "^hu_rule: expected one of none, table, header"),
        ({"min_slices": 0}, "^min_slices: expected a number in 1"),
        ({"min_plausible_share": -0.1}, r"^min_plausible_share: expected a number in 0\.\.1"),
        ({"min_plausible_share": 0.9, "max_plausible_share": 0.1}, "^max_plausible_share"),
        ({"fields": {"picture": "png"}}, "^fields: expected one of volume, labels"),
        ({"fields": {"volume": ".BIN"}}, "^fields: volume: expected a suffix"),
        ({"fields": {"volume": ""}}, "^fields: volume: expected a suffix"),
        ({"fields": {"json": 7}}, "^fields: json: expected a suffix"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make_source_spec(**changes)


def test_a_suffix_may_have_several_parts() -> None:
    assert make_source_spec(fields={"volume": "nii.npy"}).fields == {"volume": "nii.npy"}


@pytest.mark.parametrize(
    ("rule", "effective", "needed"),
    [
        (None, "none", False),
        ("none", "none", False),
        ("header", "header", False),
        ("table", "table", True),
    ],
)
def test_only_the_rule_table_needs_rescaling(
    rule: str | None, effective: str, needed: bool
) -> None:
    spec = make_source_spec(hu_rule=rule)
    assert (spec.effective_hu_rule, spec.needs_rescaling) == (effective, needed)


def test_the_split_is_put_into_a_path_wherever_it_is_asked_for() -> None:
    spec = make_spec(**TARS)
    assert spec.of_split(spec.shards, "valid") == "/data/valid/shard-{000000..000009}.tar"
    assert spec.of_split("{split}/{split}.csv", "train") == "train/train.csv"
    assert spec.of_split("reports.csv", "train") == "reports.csv"

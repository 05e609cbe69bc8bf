"""Which HU rules can be declared for which source and processing."""

import pytest

from medassets.datasets.hu_rules import check_array_rule
from medassets.errors import SpecError
from medassets_tests.declarations import NPZ, make_spec


@pytest.mark.parametrize("rule", ["none", "table"])
@pytest.mark.parametrize("may_be_unknown", [False, True])
def test_arrays_are_hu_or_follow_a_table(rule: str, may_be_unknown: bool) -> None:
    check_array_rule(make_spec(**NPZ | {"hu_rule": rule}), may_be_unknown=may_be_unknown)


@pytest.mark.parametrize("may_be_unknown", [False, True])
def test_arrays_have_no_header_to_follow(may_be_unknown: bool) -> None:
    spec = make_spec(**NPZ | {"hu_rule": "header"})
    with pytest.raises(SpecError, match=r"^hu_rule: arrays of source npz have no header; use none"):
        check_array_rule(spec, may_be_unknown=may_be_unknown)


def test_a_rule_is_needed_unless_stored_values_are_kept() -> None:
    spec = make_spec(**NPZ | {"hu_rule": None})
    check_array_rule(spec, may_be_unknown=True)
    with pytest.raises(
        SpecError, match=r"^hu_rule: source npz must say how stored values become HU"
    ):
        check_array_rule(spec)

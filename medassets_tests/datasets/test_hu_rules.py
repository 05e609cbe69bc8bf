"""Which HU rules can be declared for which source and processing."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from medassets.datasets.hu_rules import check_array_rule, check_table_rule, describe_limits
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import SpecError
from medassets.testing.ct_rate import SyntheticRepository
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


def test_no_rule_is_asked_for_where_values_are_not_hu() -> None:
    stored = {"preprocessing": "mr_percentile", "hu_rule": None}
    check_array_rule(make_spec(**NPZ | stored))
    check_table_rule(make_spec(**stored), make_rows((None, 2.0, -1024.0)))


def make_rows(*cells: tuple[Any, Any, Any]) -> pa.Table:
    """Return catalog rows of reason of exclusion, slope and intercept."""
    names = ("excluded", "rescale_slope", "rescale_intercept")
    types = (pa.string(), pa.float64(), pa.float64())
    columns = zip(*cells, strict=True)
    arrays = [pa.array(list(column), kind) for column, kind in zip(columns, types, strict=True)]
    keys = pa.array([f"train_{number}_a_1" for number in range(len(cells))])
    return pa.table([keys, *arrays], names=["key", *names])


@pytest.mark.parametrize("rule", ["none", "table", "header"])
def test_a_declared_rule_is_not_asked_for(rule: str) -> None:
    check_table_rule(make_spec(hu_rule=rule), make_rows((None, 1.0, -1024.0)))


@pytest.mark.parametrize(
    "cells", [(None, 1.0, 0.0), (None, None, None), ("no_chest", 1.0, -1024.0)]
)
def test_a_table_that_scales_no_planned_volume_needs_no_rule(cells: tuple[Any, Any, Any]) -> None:
    check_table_rule(make_spec(), make_rows(cells))


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, -1024.0), (2.0, 0.0), (None, -8192.0)])
def test_a_table_that_scales_asks_for_the_rule(slope: Any, intercept: float) -> None:
    rows = make_rows((None, 1.0, 0.0), (None, slope, intercept))
    expected = (
        rf"^hu_rule: the tables of 1 of 2 volumes .*train_1_a_1.*RescaleIntercept {intercept}"
    )
    with pytest.raises(SpecError, match=expected):
        check_table_rule(make_spec(), rows)


def test_the_rule_is_asked_for_before_anything_is_planned(
    open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    workspace = open_folder(repository.folder, hu_rule=None)
    with pytest.raises(
        SpecError, match=r"^hu_rule: the tables of (\d+) of \1 volumes state a scaling"
    ):
        draft_catalog(workspace)
    assert not workspace.paths.catalog.exists()


def test_the_share_of_air_is_a_fact_of_the_fingerprint_only_where_it_is_declared() -> None:
    assert describe_limits(make_spec()) == {}
    assert describe_limits(make_spec(expected_air_share=(0.0, 1.0))) == {"air_share": [0.0, 1.0]}

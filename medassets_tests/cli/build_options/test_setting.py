from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.build_options.setting import change_declaration, parse_settings
from medassets.cli.console import Output
from medassets.cli.session import Session
from medassets.components.overrides import overrides_file, read_overrides, write_overrides
from medassets.errors import UsageError
from medassets.specs import VolumeDatasetSpec


def change(changes: dict[str, Any], dataset: str = "lungs") -> VolumeDatasetSpec:
    spec = change_declaration(Session(), Output(), dataset, changes).kind(dataset).spec
    assert isinstance(spec, VolumeDatasetSpec)
    return spec


def test_values_are_those_of_yaml() -> None:
    given = ["a=3", "b-c=[x, 1.5]", "d=", "e=a = b", "f={x: y}", "g=true"]
    expected = {"a": 3, "b_c": ["x", 1.5], "d": "", "e": "a = b", "f": {"x": "y"}, "g": True}
    assert parse_settings(given) == expected


@pytest.mark.parametrize("text", ["a", "=3", "a=[1", "a={", f"a={'9' * 200}"])
def test_what_is_no_field_and_value_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--set"):
        parse_settings([text])


def test_a_field_is_replaced_for_every_later_command(
    lungs: Callable[..., Path], medassets: Callable[..., Any]
) -> None:
    file = lungs()
    before = file.read_bytes()
    spec = change({"num_workers": 3, "splits": ["valid"]})
    assert (spec.num_workers, spec.splits) == (3, ("valid",))
    assert Session().kind("lungs").spec == spec
    assert file.read_bytes() == before
    assert change({"seed": 0}) == spec
    assert read_overrides("lungs") == {"num_workers": 3, "splits": ["valid"]}
    assert medassets("validate").code == 0
    overrides_file("lungs").unlink()
    assert Session().kind("lungs").spec.num_workers == 1


def test_a_field_that_is_not_there_prints_the_nearest_and_all(lungs: Callable[..., Path]) -> None:
    with pytest.raises(
        UsageError, match=r"no field 'num_worker'; did you mean num_workers\?"
    ) as it:
        change({"num_worker": 3})
    assert "memory_budget_gb" in str(it.value)
    with pytest.raises(UsageError, match="no field 'name'"):
        change({"name": "other"})


def test_a_value_that_cannot_be_used_changes_nothing(lungs: Callable[..., Path]) -> None:
    change({"num_workers": 2})
    with pytest.raises(
        UsageError, match=r"set.yaml:\d+: num_workers: expected a number in 0..1024"
    ):
        change({"num_workers": -1})
    assert read_overrides("lungs") == {"num_workers": 2}


def test_after_a_plan_only_the_same_values_are_accepted(built: Path) -> None:
    change({"samples_per_shard": 4})
    with pytest.raises(UsageError, match="the plan of lungs was made with 4, got 5"):
        change({"samples_per_shard": 5})
    assert not overrides_file("lungs").exists()
    write_overrides("lungs", {"min_slices": 3})
    with pytest.raises(UsageError, match=r"Edit .*set\.yaml, which makes its shards stale"):
        change({"min_slices": 4})


def test_what_no_plan_depends_on_is_replaced_after_it(
    lungs: Callable[..., Path], built: Path
) -> None:
    assert change({"max_rejected_share": 0.5, "max_excluded_share": 0.6}).max_rejected_share == 0.5
    with pytest.raises(UsageError, match="min_slices: the plan of lungs was made with"):
        change({"max_rejected_share": 0.4, "min_slices": 3})
    assert read_overrides("lungs")["max_rejected_share"] == 0.5

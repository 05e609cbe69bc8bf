"""The json of a sample states how its volume was made."""

from typing import Any

import pytest

from medassets.comparison.recipes import read_recipe
from medassets.comparison.values import Tolerance
from medassets.errors import SampleRejectedError
from medassets.specs import PRESETS


def test_the_rule_of_the_user_counts_before_those_of_the_jsons() -> None:
    none, table = {"hu": {"rule": "none"}}, {"hu": {"rule": "table"}}
    cases: list[tuple[dict[str, Any], dict[str, Any], Any, str]] = [
        ({}, {}, None, "table"),
        (none, table, None, "none"),
        ({}, none, None, "none"),
        (none, none, "table", "table"),
        ({"hu": None}, {"hu": []}, None, "table"),
    ]
    for facts, original, said, rule in cases:
        recipe = read_recipe(facts, original, shape=(1, 2, 3), hu_rule=said)
        assert (recipe.hu_rule, recipe.preset) == (rule, PRESETS["ct_clip"])
        # 0.49 HU: float32 positions of scripts that state no preset.
        assert recipe.tolerance == Tolerance(steps=1, difference=2**-11)


def test_a_preset_that_was_replaced_takes_the_shape_of_the_sample() -> None:
    stated = {"preset": "ct_clip", "spacing_mm": [1, 2, 3], "scale": 500, "pad_value": 0}
    recipe = read_recipe({"preprocessing": stated}, {}, shape=(5, 7, 11), hu_rule="none")
    assert recipe.preset is not None
    assert (recipe.preset.shape, recipe.preset.spacing_mm) == ((5, 7, 11), (1.0, 2.0, 3.0))
    assert recipe.tolerance == Tolerance(steps=1)
    with pytest.raises(SampleRejectedError, match="is not a preset"):
        read_recipe({"preprocessing": "x"}, {}, shape=(5, 7, 11), hu_rule="none")


def test_stored_values_are_compared_exactly() -> None:
    recipe = read_recipe({"preprocessing": "none"}, {}, shape=(5, 7, 11), hu_rule=None)
    assert (recipe.name, recipe.preset, recipe.tolerance) == ("none", None, Tolerance())


def test_the_range_that_a_json_states_replaces_that_of_the_preset() -> None:
    mr = {"preset": "mr_percentile", "clip_percentiles": [1, 99], "output_range": [0, 2]}
    recipe = read_recipe({"preprocessing": mr}, {}, shape=(5, 7, 11), hu_rule="table")
    assert recipe.preset is not None
    assert (recipe.preset.percentiles, recipe.preset.output_range) == ((1.0, 99.0), (0.0, 2.0))
    assert (recipe.hu_rule, recipe.preset.intensity) == ("none", "stored")
    fixed = {"preset": "ct_clip", "intensity": "stored", "clip": [0, 900], "scale": 10}
    recipe = read_recipe({"preprocessing": fixed}, {}, shape=(5, 7, 11), hu_rule=None)
    assert recipe.preset is not None
    assert (recipe.preset.clip_hu, recipe.preset.scale) == ((0.0, 900.0), 10.0)
    soft = {"preset": "ct_soft_tissue", "clip_hu": [-160, 240], "output_range": [-1, 1]}
    recipe = read_recipe({"preprocessing": soft}, {}, shape=(5, 7, 11), hu_rule="table")
    assert recipe.preset is not None
    assert recipe.preset.find_output_range() == (-1.0, 1.0)
    wrong = {"preset": "mr_percentile", "clip_percentiles": [99]}
    with pytest.raises(SampleRejectedError, match="preprocessing: "):
        read_recipe({"preprocessing": wrong}, {}, shape=(5, 7, 11), hu_rule=None)

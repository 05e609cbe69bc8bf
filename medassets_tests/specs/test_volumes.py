"""Declarations of CT volumes: presets, their replacements, and wrong fields by name."""

from dataclasses import replace
from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import PRESETS, CTPreprocessing
from medassets_tests.declarations import NPZ, TARS, make_spec

RAW_NPZ = NPZ | {"preprocessing": "none"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"preprocessing": "magic"}, "^preprocessing: expected one of ct_clip"),
        ({"target_shape": (1, 2)}, "^target_shape: expected three sides"),
        ({"target_shape": (5, 7, 4097)}, "^target_shape: expected three sides"),
        ({"target_spacing_mm": (0.0, 1.0, 1.0)}, "^target_spacing_mm: expected three steps"),
        ({"orientation": "up"}, "^orientation: expected one of"),
        (RAW_NPZ | {"target_shape": (4, 4, 4)}, "^target_shape: preprocessing none"),
        (RAW_NPZ | {"target_spacing_mm": (1.0, 1.0, 1.0)}, "^target_spacing_mm: preprocessing"),
        (NPZ | {"max_rounding_error": -1.0}, "^max_rounding_error: expected a number in 0"),
        (NPZ | {"max_rounding_error": "small"}, "^max_rounding_error: expected a number"),
        (NPZ | {"max_rounding_error": True}, "^max_rounding_error: expected a number"),
        (NPZ | {"max_rounding_error": float("nan")}, "^max_rounding_error: expected a number"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make_spec(**changes)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"clip_hu": (400.0, 400.0)}, "^clip_hu: expected low < high"),
        ({"scale": 0.0}, "^scale: expected a number above 0"),
        ({"spacing_mm": (1.0, 1.0, 1000.0)}, "^target_spacing_mm: expected three steps"),
    ],
)
def test_a_preset_that_no_volume_can_satisfy_is_rejected(
    changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        replace(PRESETS["ct_clip"], **changes)


@pytest.mark.parametrize(
    ("changes", "needed"),
    [
        ({}, False),
        ({"hu_rule": "table"}, True),
        ({"hu_rule": "header"}, False),
        (NPZ, False),
        (TARS, True),
        (RAW_NPZ, False),
        (RAW_NPZ | {"hu_rule": "table"}, True),
        (RAW_NPZ | {"hu_rule": None}, True),
    ],
)
def test_rescaling_is_needed_to_apply_it_or_to_pass_it_on(
    changes: dict[str, Any], needed: bool
) -> None:
    assert make_spec(**changes).needs_rescaling is needed


def test_the_preset_ct_clip_is_the_published_grid() -> None:
    preset = make_spec().preset()
    assert preset == CTPreprocessing(
        spacing_mm=(0.75, 0.75, 1.5),
        clip_hu=(-1000.0, 1000.0),
        scale=1000.0,
        shape=(480, 480, 240),
        pad_value=-1.0,
    )


def test_replacements_change_only_their_field() -> None:
    preset = make_spec(target_shape=(7, 5, 3), orientation="LPS").preset()
    assert preset.shape == (7, 5, 3)
    assert preset.orientation == "LPS"
    assert preset.spacing_mm == (0.75, 0.75, 1.5)


def test_values_that_are_kept_as_stored_have_no_preset() -> None:
    spec = make_spec(**RAW_NPZ | {"hu_rule": None})
    assert spec.is_raw
    with pytest.raises(SpecError, match=r"^preprocessing: none has no preset"):
        spec.preset()

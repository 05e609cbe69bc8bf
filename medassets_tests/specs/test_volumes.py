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
        ({"clip_hu": (400.0, 400.0)}, r"^clip: expected \[low, high\], low < high, got"),
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


MR = {"preprocessing": "mr_percentile"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"intensity": "suv"}, "^intensity: expected one of hu, stored, got 'suv'"),
        (
            {"intensity": "stored"},
            "^clip: the range of ct_clip is not one of values that are stored",
        ),
        (
            MR | {"intensity": "hu"},
            "^clip: the range of mr_percentile is not one of values that are",
        ),
        ({"clip": (1.0,)}, r"^clip: expected \[low, high\]"),
        ({"clip": (5, "9")}, "^clip: expected"),
        ({"clip": (9.0, 5.0)}, "^clip: expected"),
        (MR | {"clip_percentiles": (1, 101)}, "^clip_percentiles: expected"),
        (
            MR | {"clip": (0, 1), "clip_percentiles": (1, 99)},
            "^clip_percentiles: a range is either",
        ),
        ({"clip_percentiles": (1, 99)}, "^output_range: a range of percentiles needs the values"),
        ({"scale": 2, "output_range": (0, 1)}, "^scale: output_range scales already"),
        ({"scale": "2"}, "^scale: expected a number, got '2'"),
        ({"scale": -1}, "^scale: expected a number above 0"),
        ({"pad_value": True}, "^pad_value: expected a number, got True"),
        (MR | {"scale": 10.0}, "^output_range: a range of percentiles needs the values"),
        (MR | {"min_inside_share": 0.5}, "^min_inside_share: a range of percentiles always holds"),
        (MR | {"clip": (0, 9), "min_inside_share": 2}, "^min_inside_share: expected a number in 0"),
        (RAW_NPZ | {"clip": (0, 9)}, "^clip: preprocessing none keeps stored values; leave it out"),
    ],
)
def test_a_wrong_field_of_values_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make_spec(**changes)


def test_fields_of_values_replace_those_of_the_preset() -> None:
    fixed = make_spec(**MR, clip=[0, 2000]).preset()
    assert (fixed.clip_hu, fixed.percentiles, fixed.output_range) == ((0.0, 2000.0), None, (0, 1))
    scaled = make_spec(**MR, clip=[50, 2000], scale=100).preset()
    assert (scaled.scale, scaled.output_range, scaled.pad_value) == (100.0, None, 0.5)
    other = make_spec(clip=(-200, 300), output_range=(-1, 1)).preset()
    assert (other.clip_hu, other.scale, other.pad_value) == ((-200.0, 300.0), 1.0, -1.0)
    assert make_spec(clip=(-200, 300), pad_value=-7).preset().pad_value == -7.0
    stored = make_spec(intensity="stored", clip_percentiles=(1, 99), output_range=(0, 5)).preset()
    assert (stored.intensity, stored.percentiles, stored.clip_hu) == ("stored", (1.0, 99.0), None)
    assert make_spec(intensity="hu").preset() == PRESETS["ct_clip"]


@pytest.mark.parametrize(
    ("changes", "is_hu"),
    [
        ({}, True),
        (MR, False),
        (RAW_NPZ, True),
        (RAW_NPZ | {"intensity": "stored", "hu_rule": None}, False),
        ({"intensity": "stored", "clip": (0, 9)}, False),
        (MR | {"intensity": "hu", "clip": (0, 9)}, True),
    ],
)
def test_values_are_hu_unless_preset_or_declaration_say_otherwise(
    changes: dict[str, Any], is_hu: bool
) -> None:
    spec = make_spec(**changes)
    assert (spec.is_hu, spec.effective_intensity) == (is_hu, "hu" if is_hu else "stored")
    if not is_hu:
        assert (spec.stated_hu_rule, spec.needs_rescaling) == (None, False)

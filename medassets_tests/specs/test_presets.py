"""Presets: each is a set of values that volumes can satisfy, or is refused by its field."""

import math
from dataclasses import replace
from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import PRESETS


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("ct_clip", {"intensity": "suv"}, "^intensity: expected one of hu, stored"),
        ("ct_clip", {"clip_hu": None}, "^clip: expected .*, got None"),
        ("ct_clip", {"clip_hu": (0.0, math.nan)}, "^clip: expected"),
        ("ct_clip", {"clip_hu": (0.0, 1.0, 2.0)}, "^clip: expected"),
        ("ct_clip", {"scale": math.nan}, "^scale: expected a number above 0"),
        ("ct_clip", {"scale": 0.001}, "^scale: values up to 1e.06 do not fit float16"),
        ("ct_clip", {"pad_value": math.nan}, "^pad_value: values up to nan do not fit float16"),
        ("ct_clip", {"percentiles": (1.0, 99.0)}, "^clip_percentiles: a range is either fixed or"),
        ("mr_percentile", {"percentiles": (-1.0, 99.0)}, r"^clip_percentiles: .*within 0\.\.100"),
        ("mr_percentile", {"percentiles": (50.0, 50.0)}, "^clip_percentiles: expected"),
        ("mr_percentile", {"output_range": None}, "^output_range: a range of percentiles needs"),
        ("mr_percentile", {"output_range": (1.0, 0.0)}, "^output_range: expected"),
        ("mr_percentile", {"output_range": (0.0, 1e5)}, "^scale: values up to 100000 do not fit"),
    ],
)
def test_a_preset_that_no_volume_can_satisfy_is_refused(
    name: str, changes: dict[str, Any], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        replace(PRESETS[name], **changes)


def test_every_preset_pads_with_the_least_value_of_a_sample() -> None:
    ranges = {name: preset.find_output_range() for name, preset in PRESETS.items()}
    assert ranges == {
        "ct_clip": (-1.0, 1.0),
        "ct_soft_tissue": (0.0, 1.0),
        "mr_percentile": (0.0, 1.0),
    }
    for preset in PRESETS.values():
        assert preset.pad_value == (preset.find_output_range() or (math.nan,))[0]

"""Read from a json how a preprocessed sample was made, and make its volume again."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, cast, get_args

import numpy as np
import numpy.typing as npt

from medassets.comparison.tars import StudySample
from medassets.comparison.values import Tolerance
from medassets.errors import Reason, SampleRejectedError, SpecError
from medassets.specs import PRESETS, RAW, SAMPLE_LAYOUT, CTPreprocessing, HuRule
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.catalog.webdataset_facts import read_columns, shorten
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.slices import open_slices
from medassets.volumes.grid.geometry import Spacing
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.preprocessing import VolumeLimits, preprocess_volume
from medassets.volumes.grid.to_float16 import check_half, convert_to_half

_DEFAULT_PRESET = "ct_clip"
_STATED = ("spacing_mm", "pad_value", "orientation", "intensity")
# Plausibility of the volume was checked when it was preprocessed.
_ANY_VOLUME = VolumeLimits(
    min_slices=1, min_plausible_share=0.0, max_plausible_share=1.0, air_share=(0.0, 1.0)
)


@dataclass(frozen=True)
class Recipe:
    """The processing of an original volume.

    Attributes:
        name: Name of the preset, `none` for float16 of the stored values.
        preset: The preprocessing; None for `none`.
        hu_rule: How stored values become HU; `none` where they do not.
        is_stated: Whether the sample names its preset, as those of medassets do.
    """

    name: str
    preset: CTPreprocessing | None
    hu_rule: HuRule
    is_stated: bool = True

    @property
    def tolerance(self) -> Tolerance:
        """The accepted difference: none without interpolation, otherwise one step.

        Scripts that state no preset interpolate with float32 positions, with errors of 1e-4 of a
        voxel; between air and bone that is many of the steps that float16 has near zero, but no more
        than its step at the largest value, 0.5 HU (measured on torch: 0.49 at most).
        """
        if self.preset is None:
            return Tolerance()
        if self.is_stated:
            return Tolerance(steps=1)
        largest = np.float16(max(map(abs, self.preset.find_output_range() or (1.0,))))
        step = largest - np.nextafter(largest, np.float16(0))
        return Tolerance(steps=1, difference=float(step))


def read_recipe(
    facts: Mapping[str, Any],
    original: Mapping[str, Any],
    *,
    shape: tuple[int, ...],
    hu_rule: HuRule | None,
) -> Recipe:
    """Return how a sample was made, from its json.

    Args:
        facts: Its json; a missing preset means `ct_clip`.
        original: Json of the original.
        shape: Shape of the sample; jsons of medassets do not state it with the preset.
        hu_rule: Replaces the rule of the json; None uses the json, then that of the original, then
            `table`.

    Raises:
        SampleRejectedError: BAD_RECORD if the json states invalid processing.
    """
    stated = facts.get("preprocessing")
    if stated is None:
        stated = {}
    if isinstance(stated, str):
        stated = {"preset": stated}
    if not isinstance(stated, dict):
        _reject(f"preprocessing: expected the name of a preset, got {shorten(stated)}")
    name = stated.get("preset", _DEFAULT_PRESET)
    rule = hu_rule or _read_rule(facts) or _read_rule(original) or "table"
    if name == RAW:
        return Recipe(RAW, None, rule)
    if not isinstance(name, str) or name not in PRESETS:
        _reject(f"preprocessing: {shorten(name)} is not a preset; known: {[*PRESETS, RAW]}")
    preset = _read_preset(PRESETS[name], stated, shape)
    if preset.intensity != "hu":
        rule = "none"
    if rule not in ("none", "table"):
        _reject(
            f"hu.rule is {shorten(rule)}, which does not apply to arrays; give --hu-rule none or table"
        )
    return Recipe(name, preset, rule, is_stated="preset" in stated)


def _read_rule(facts: Mapping[str, Any]) -> HuRule | None:
    hu = facts.get("hu")
    rule = hu.get("rule") if isinstance(hu, dict) else None
    if rule is not None and rule not in get_args(HuRule):
        _reject(f"hu.rule is {shorten(rule)}; expected one of {list(get_args(HuRule))}")
    return cast("HuRule | None", rule)


def _read_preset(
    preset: CTPreprocessing, stated: Mapping[str, Any], shape: tuple[int, ...]
) -> CTPreprocessing:
    try:
        changes = _read_changes(stated)
        if changes:
            # A declaration that replaces the shape also states all other settings.
            changes["shape"] = shape
        found = replace(preset, **changes)
    except (OverflowError, SpecError, TypeError, ValueError) as error:
        _reject(f"preprocessing: {error}")
    if found.orientation != "as_stored":
        _reject(
            f"preprocessing: orientation {found.orientation}: arrays do not state their orientation"
        )
    return found


def _read_changes(stated: Mapping[str, Any]) -> dict[str, Any]:
    if stated.get("layout", SAMPLE_LAYOUT) != SAMPLE_LAYOUT:
        _reject(f"preprocessing: layout: expected {SAMPLE_LAYOUT}, got {shorten(stated['layout'])}")
    changes = {name: stated[name] for name in _STATED if name in stated}
    if "pad_value" in changes:
        changes["pad_value"] = float(changes["pad_value"])
    if "spacing_mm" in changes:
        changes["spacing_mm"] = tuple(map(float, changes["spacing_mm"]))
    return {**changes, **_read_range(stated)}


def _read_range(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a preset that a stated range and scaling replace."""
    changes: dict[str, Any] = {}
    for name in ("clip_hu", "clip"):
        if name in stated:
            changes |= {"clip_hu": _read_pair(stated[name]), "percentiles": None}
    if "clip_percentiles" in stated:
        pair = _read_pair(stated["clip_percentiles"])
        changes |= {"clip_hu": None, "percentiles": pair}
    if "scale" in stated:
        changes |= {"scale": float(stated["scale"]), "output_range": None}
    if "output_range" in stated:
        changes |= {"scale": 1.0, "output_range": _read_pair(stated["output_range"])}
    return changes


def _read_pair(stated: Any) -> tuple[float, float]:
    low, high = stated
    return float(low), float(high)


def make_volume(
    original: StudySample,
    open_array: Callable[[], AbstractContextManager[VolumeStream]],
    facts: Mapping[str, Any],
    *,
    recipe: Recipe,
    out: npt.NDArray[np.float16],
    buffers: BufferPool,
) -> None:
    """Compute the volume of a preprocessed sample from its original.

    Args:
        original: The original sample.
        open_array: Opens its volume; called once per pass over it.
        facts: Its json: spacing, and the values of the HU rule `table`.
        recipe: The processing.
        out: Receives the values: float16, C-contiguous, of the preset's shape or, for `none`, that
            of the array.
        buffers: Pool of scratch arrays.

    Raises:
        SampleRejectedError: If this volume cannot be made from the original.
    """
    if recipe.preset is None:
        with open_array() as stream:
            statistics = convert_to_half(stream, out, buffers=buffers)
        check_half(statistics, max_rounding_error=None)
        return
    row = VolumeRow.of(read_columns(facts, original.study_id))

    def open_it(_: Path) -> AbstractContextManager[VolumeStream]:
        return open_slices(open_array(), buffers=buffers)

    preprocess_volume(
        original.tar,
        preset=recipe.preset,
        hu=_declare_hu(recipe.hu_rule, row),
        spacing_mm=_read_spacing(row),
        limits=_ANY_VOLUME,
        out=out,
        buffers=buffers,
        opener=open_it,
    )


def _declare_hu(rule: HuRule, row: VolumeRow) -> HuDeclaration:
    if rule != "table":
        return HuDeclaration(rule=rule)
    return HuDeclaration("table", row.rescale_slope, row.rescale_intercept)


def _read_spacing(row: VolumeRow) -> Spacing:
    i, j, k = row.spacing_mm
    if i is None or j is None or k is None:
        detail = "the json gives no usable XYSpacing and ZSpacing"
        raise SampleRejectedError(Reason.SPACING_MISSING, detail)
    return i, j, k


def _reject(detail: str) -> NoReturn:
    raise SampleRejectedError(Reason.BAD_RECORD, detail)

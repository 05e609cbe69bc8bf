"""What the json of a preprocessed sample says of labels, report and original volume."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from medassets.volumes.catalog.ct_tables import REPORT_SECTIONS
from medassets.volumes.catalog.webdataset_facts import read_columns, read_spacing, shorten

Facts = Mapping[str, Any]
Steps = list[float | None]

_RESCALING = {"RescaleSlope": "rescale_slope", "RescaleIntercept": "rescale_intercept"}
_LARGEST = 1e300
_HU = {"slope": "rescale_slope", "intercept": "rescale_intercept"}


def compare_labels(facts: Facts, labels: bytes) -> list[str]:
    """Compare the labels in a json with those that lie beside it.

    Args:
        facts: The json; labels that are no object of numbers are not compared.
        labels: The sample's own member: float32 little-endian.
    """
    if len(labels) % 4:
        return []
    values = np.frombuffer(labels, "<f4")
    found = []
    count = facts.get("num_classes")
    if count is not None and count not in (values.size, str(values.size)):
        found.append(f"json: num_classes is {shorten(count)}, the sample has {values.size} labels")
    stated = _take_labels(facts)
    if stated is None:
        return found
    if len(stated) != values.size:
        return [*found, f"json: it gives {len(stated)} labels, the sample has {values.size}"]
    there = _read_labels(stated)
    same = (there == values) | ~(np.isfinite(there) | np.isfinite(values))
    if not same.all():
        number = int(np.argmin(same))
        name, value = list(stated.items())[number]
        is_what = f"label {shorten(name)} is {shorten(value)}"
        found.append(f"json: {is_what}, the sample's own is {values[number]:g}")
    return found


def compare_report(facts: Facts, original: Facts) -> list[str]:
    """Compare the sections of the report in two jsons, where both give one.

    Args:
        facts: Of the sample; that of foreign ones need not have every section.
        original: Of the original.
    """
    report, expected = facts.get("report"), original.get("report")
    if "report" not in facts or not isinstance(expected, dict):
        return []
    there, right = (read_columns({"report": one}, "") for one in (report, expected))
    stated = report if isinstance(report, dict) else {}
    return [
        _describe(f"report.{name}", there[column], right[column])
        for name in REPORT_SECTIONS
        if (name in stated or _is_ours(facts))
        and there[column := f"report_{name}"] != right[column]
    ]


def compare_volume_facts(
    facts: Facts, original: Facts, *, shape: tuple[int, ...], is_stored: bool
) -> list[str]:
    """Compare what a json says of the volume that the sample was made of.

    Args:
        facts: The json; what it does not say is not compared.
        original: Json of the original.
        shape: Shape of the original's array.
        is_stored: Whether the sample holds stored values. Of one that was resampled, the names of
            raw samples may mean what it was made to.
    """
    right = read_columns(original, "")
    spacing = [right[f"spacing_{axis}"] for axis in "ijk"]
    found = _compare_stored(facts, original, right, spacing) if is_stored else []
    found += _compare_hu(facts, right)
    # Raw samples of foreign scripts may have been cut before, and their json is copied.
    if facts.get("original_shape") not in (None, list(shape), original.get("original_shape")):
        found.append(_describe("original_shape", facts["original_shape"], list(shape)))
    return found + _compare_source(facts, spacing, list(shape))


def _compare_stored(facts: Facts, original: Facts, right: Facts, spacing: Steps) -> list[str]:
    """Compare what later preprocessing goes by."""
    there = read_columns(facts, "")
    found = [
        _describe(name, facts[name], right[column])
        for name, column in _RESCALING.items()
        if name in facts and there[column] != right[column]
    ]
    for name, (read, part) in _SPACINGS.items():
        # Of an original that says both, the names may contradict each other; both are copied.
        allowed = [spacing[part], *([read(original)] if name in original else [])]
        if name in facts and read(facts) not in allowed:
            found.append(_describe(name, facts[name], allowed[0]))
    return found


def _compare_hu(facts: Facts, right: Facts) -> list[str]:
    hu = _read_object(facts, "hu")
    if hu.get("rule") != "table":
        return []
    there = read_columns(
        {"RescaleSlope": hu.get("slope"), "RescaleIntercept": hu.get("intercept")}, ""
    )
    return [
        _describe(f"hu.{name}", hu[name], right[column])
        for name, column in _HU.items()
        if name in hu and there[column] != right[column]
    ]


def _compare_source(facts: Facts, spacing: Steps, shape: list[int]) -> list[str]:
    source = _read_object(_read_object(facts, "geometry"), "source")
    found = []
    # Headers of NIfTI files hold float32, which no table's number equals.
    is_exact = source.get("spacing_from") != "header"
    if "spacing_mm" in source and is_exact and _read_steps(source) != spacing:
        found.append(_describe("geometry.source.spacing_mm", source["spacing_mm"], spacing))
    if source.get("shape") not in (None, shape):
        found.append(_describe("geometry.source.shape", source["shape"], shape))
    return found


def _read_in_plane(facts: Facts) -> Steps:
    return read_spacing({"XYSpacing": facts.get("XYSpacing"), "ZSpacing": 1})[:2]


def _read_slice_step(facts: Facts) -> Steps:
    return read_spacing({"XYSpacing": 1, "ZSpacing": facts.get("ZSpacing")})[2:]


def _read_steps(facts: Facts) -> Steps:
    return read_spacing({"spacing_mm": facts.get("spacing_mm")})


_SPACINGS: dict[str, tuple[Callable[[Facts], Steps], slice]] = {
    "XYSpacing": (_read_in_plane, slice(2)),
    "ZSpacing": (_read_slice_step, slice(2, 3)),
    "spacing_mm": (_read_steps, slice(3)),
}
"""How a name is read, and which of the steps along (i, j, k) it gives."""


def _take_labels(facts: Facts) -> dict[str, float | None] | None:
    """Return the labels by name; None if the json gives no object of numbers."""
    stated = facts.get("labels")
    if not isinstance(stated, dict) or (not stated and not _is_ours(facts)):
        return None
    are_numbers = all(v is None or isinstance(v, int | float) for v in stated.values())
    return stated if are_numbers else None


def _read_labels(stated: Mapping[str, float | None]) -> npt.NDArray[np.float32]:
    # Integers that no float64 holds would raise; null stands for what is not finite.
    values = [np.nan if v is None or abs(v) > _LARGEST else float(v) for v in stated.values()]
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def _is_ours(facts: Facts) -> bool:
    return "fingerprint" in facts and isinstance(facts.get("preprocessing"), dict)


def _read_object(facts: Facts, name: str) -> Facts:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _describe(name: str, stated: Any, right: Any) -> str:
    return f"json: {name} is {shorten(stated)}, the original's is {shorten(right)}"

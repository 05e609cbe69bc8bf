"""Read the json of a foreign sample into the columns of the catalog."""

import json
import math
from collections.abc import Mapping
from typing import Any

from medassets.specs.ct import is_orientation
from medassets.storage.checksums import canonical_json
from medassets.storage.formats.csv_tables import parse_number
from medassets.storage.formats.npy import read_dtype
from medassets.volumes.catalog.ct_rate_cells import clean_section
from medassets.volumes.catalog.ct_rate_names import parse_volume_name
from medassets.volumes.catalog.ct_tables import REPORT_SECTIONS, Row
from medassets.volumes.catalog.webdataset_fields import read_stated_array

_LARGEST_LABEL = 3.4e38
_MOST_AXES, _LONGEST_SIDE = 8, 1 << 31
_ENDINGS = (".nii.gz", ".nii", ".npz")
_SHOWN = 80
# What a sample's json says of the sample itself, and what has columns of its own.
_NOT_METADATA = frozenset(
    {
        *("study_id", "shape", "dtype", "volume_shape", "volume_dtype", "original_shape"),
        *("num_classes", "labels", "report", "split", "patient", "scan", "reconstruction"),
        *("source", "geometry", "hu", "preprocessing", "spacing_mm", "metadata", "fingerprint"),
    }
)


def parse_facts(content: bytes) -> dict[str, Any]:
    """Parse the json of a sample; NaN and infinities, which JSON does not have, become null.

    Raises:
        ValueError: If it is not a JSON object, or contains text that no file can store.
    """
    try:
        value = json.loads(content, parse_constant=lambda _: None, parse_float=_parse_float)
        # Text may contain lone surrogates, which neither a table nor a shard can store.
        canonical_json(value)
    except RecursionError as error:
        msg = "nested too deeply"
        raise ValueError(msg) from error
    if not isinstance(value, dict):
        msg = f"expected an object, got {shorten(value)}"
        raise ValueError(msg)
    return value


def read_study_id(facts: Mapping[str, Any]) -> str:
    """Return the name of the study.

    Raises:
        ValueError: If it is missing, or not a valid name.
    """
    value = facts.get("study_id")
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if value is None or value == "":
        msg = "the json gives no study_id"
        raise ValueError(msg)
    if not isinstance(value, str) or not value.strip() or not is_plain_name(value):
        msg = f"study_id: expected a name, got {shorten(value)}"
        raise ValueError(msg)
    return value


def is_plain_name(name: str) -> bool:
    """Tell whether a name from a foreign file has neither control characters nor a part `..`."""
    return name.isprintable() and ".." not in name.replace("\\", "/").split("/")


def read_columns(facts: Mapping[str, Any], study_id: str) -> Row:
    """Return the columns that a json fills, null where it says nothing.

    Args:
        facts: The json.
        study_id: Name of the study; one in the pattern of CT-RATE names patient and scan, too.
    """
    spacing = read_spacing(facts)
    stated = facts.get("XYSpacing")
    return {
        **{f"spacing_{axis}": step for axis, step in zip("ijk", spacing, strict=True)},
        "xy_spacing": stated if isinstance(stated, str) or stated is None else json.dumps(stated),
        "rescale_slope": _read_number(facts.get("RescaleSlope")),
        "rescale_intercept": _read_number(facts.get("RescaleIntercept")),
        "metadata": _encode_metadata(facts),
        **_read_report(facts.get("report")),
        **_read_labels(facts.get("labels")),
        **_identify(facts, study_id),
    }


def read_spacing(facts: Mapping[str, Any]) -> list[float | None]:
    """Return the steps along (i, j, k) in mm: the first complete ones, else the incomplete ones.

    CT-RATE's `XYSpacing` and `ZSpacing` take precedence over `spacing_mm`, and that over the
    geometry in shards of medassets.

    Args:
        facts: The json.
    """
    in_plane = _read_numbers(facts.get("XYSpacing"))
    if len(in_plane) == 1:
        in_plane *= 2
    geometry = facts.get("geometry")
    output = geometry.get("output") if isinstance(geometry, dict) else None
    candidates = (
        [*in_plane, _read_number(facts.get("ZSpacing"))],
        _read_numbers(facts.get("spacing_mm")),
        _read_numbers(output.get("spacing_mm") if isinstance(output, dict) else None),
    )
    whole = [steps for steps in candidates if len(steps) == 3 and None not in steps]
    nothing: list[float | None] = [None, None, None]
    return next((steps for steps in (*whole, candidates[0]) if len(steps) == 3), nothing)


def read_stated_orientation(facts: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return the axis codes of the array of a sample, and those that rival them; None for none.

    Shards of medassets state them: preprocessed ones in `geometry.output`, raw ones in
    `geometry.source`.

    Args:
        facts: The json.

    Raises:
        ValueError: If axis codes are given that name no orientation.
    """
    geometry = facts.get("geometry")
    frames = geometry if isinstance(geometry, dict) else {}
    source, output = (
        frame if isinstance(frame, dict) else {}
        for frame in (frames.get("source"), frames.get("output"))
    )
    codes = _read_codes(output if output else source, "axis_codes")
    return codes, _read_codes(source, "rival_axis_codes") if codes else None


def _read_codes(frame: Mapping[str, Any], name: str) -> str | None:
    value = frame.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not is_orientation(value):
        msg = f"{name}: expected three directions such as LPS, got {shorten(value)}"
        raise ValueError(msg)
    return value


def read_stated_columns(facts: Mapping[str, Any]) -> Row:
    """Return shape and dtype of a `bin`, as the json states them.

    Raises:
        ValueError: If an array cannot have them.
    """
    shape, dtype_name = read_stated_array(facts)
    if not isinstance(shape, list) or not 0 < len(shape) <= _MOST_AXES or not _are_sides(shape):
        msg = f"shape: expected the sides of an array, got {shorten(shape)}"
        raise ValueError(msg)
    try:
        dtype = read_dtype(dtype_name)
    except ValueError as error:
        msg = f"dtype: {error}, got {shorten(dtype_name)}"
        raise ValueError(msg) from error
    return {"shape": shape, "array_dtype": dtype.name if dtype.isnative else dtype.str}


def shorten(value: Any) -> str:
    """Return a value from a foreign file as a message may show it."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _are_sides(shape: list[Any]) -> bool:
    return all(type(side) is int and 0 < side < _LONGEST_SIDE for side in shape)


def _parse_float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _read_number(value: Any) -> float | None:
    """Read a number, or a text that is a number; None for everything else."""
    try:
        if isinstance(value, str):
            return parse_number(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
            return number if math.isfinite(number) else None
    except (OverflowError, ValueError):
        pass
    return None


def _read_numbers(value: Any) -> list[float | None]:
    """Read one number or a list, or the text of either, such as `"[0.75, 0.75]"`."""
    if isinstance(value, str):
        value = value.strip().removeprefix("[").removesuffix("]").split(",")
    return [_read_number(item) for item in (value if isinstance(value, list) else [value])]


def _encode_metadata(facts: Mapping[str, Any]) -> str:
    own = facts.get("metadata")
    rest = {name: value for name, value in facts.items() if name not in _NOT_METADATA}
    return canonical_json(own if isinstance(own, dict) else rest).decode()


def _read_report(report: Any) -> Row:
    sections = report if isinstance(report, dict) else {}
    texts = {name: sections.get(name) for name in REPORT_SECTIONS}
    return {
        f"report_{name}": clean_section(text) if isinstance(text, str) else None
        for name, text in texts.items()
    }


def _read_labels(labels: Any) -> Row:
    if not isinstance(labels, dict) or not labels:
        return {}
    values = [_read_number(value) for value in labels.values()]
    is_whole = all(value is not None and abs(value) <= _LARGEST_LABEL for value in values)
    return {"label_names": list(labels), "labels": values if is_whole else None}


def _identify(facts: Mapping[str, Any], study_id: str) -> Row:
    ending = next((end for end in _ENDINGS if study_id.endswith(end)), "")
    stem = study_id.removesuffix(ending)
    name = parse_volume_name(f"{stem}.nii.gz", split=stem.partition("_")[0])
    patient = _read_text(facts.get("patient")) or (name.patient if name else None)
    number = _read_number(facts.get("reconstruction"))
    is_count = number is not None and number == int(number) and abs(number) < _LONGEST_SIDE
    return {
        "patient": patient,
        "group": patient or study_id,
        "scan": _read_text(facts.get("scan")) or (name.scan if name else None),
        "reconstruction": int(number)
        if is_count and number is not None
        else (name.reconstruction if name else None),
    }


def _read_text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None

"""Parse the cells of CT-RATE's tables: typed metadata, spacing pairs, report sections."""

import json
import math
import re
from collections.abc import Callable, Sequence

from medassets.storage.formats.csv_tables import CsvTable, parse_number
from medassets.storage.formats.missing import clean_text, is_missing

TEXT_COLUMNS = frozenset(
    {
        "Manufacturer",
        "SeriesDescription",
        "ManufacturerModelName",
        "PatientSex",
        "PatientAge",
        "RotationDirection",
        "FilterType",
        "ConvolutionKernel",
        "PatientPosition",
        "ExposureModulationType",
        "PhotometricInterpretation",
        "RescaleType",
        "StudyDate",
    }
)
"""Metadata columns that stay text where a cell looks like a number (a kernel `60`, a date)."""

# Leading zeros stay text: they belong to identifiers.
_INTEGER = re.compile(r"-?(?:0|[1-9]\d*)", re.ASCII)
_FLOAT = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?", re.ASCII)


def encode_metadata_rows(table: CsvTable, *, without: str) -> list[str]:
    """Encode each row as one JSON object: sorted keys, compact, typed, empty cells null.

    Args:
        table: The metadata table.
        without: Column to leave out.

    Returns:
        JSON text per row; the same text for the same cells, whatever the column order.
    """
    names = sorted(name for name in table.columns if name != without)
    fragments: list[list[str]] = []
    for name in names:
        encode = _encode_text if name in TEXT_COLUMNS else _encode_cell
        fragments.append(_encode_column(table.column(name), name=name, encode=encode))
    if not fragments:
        return ["{}"] * len(table.rows)
    return ["{" + ",".join(cells) + "}" for cells in zip(*fragments, strict=True)]


def parse_spacing_pair(text: str) -> tuple[float | None, float | None]:
    """Return a JSON pair such as `[0.75, 0.75]`, in mm; None where nothing is given.

    Raises:
        ValueError: If it is no pair of numbers.
    """
    if is_missing(text):
        return None, None
    parts = text.removeprefix("[").removesuffix("]").split(",")
    if not (text.startswith("[") and text.endswith("]") and len(parts) == 2):
        msg = f"not a pair: {text!r}"
        raise ValueError(msg)
    return parse_number(parts[0]), parse_number(parts[1])


def clean_section(text: str) -> str | None:
    """Return the text of a report section; None if it says that nothing is given."""
    return clean_text(text)


def join_report(sections: Sequence[str | None]) -> str | None:
    """Join the sections that are not missing, one per line; None if all are missing."""
    return "\n".join(section for section in sections if section) or None


def _encode_column(cells: list[str], *, name: str, encode: Callable[[str], str]) -> list[str]:
    known: dict[str, str] = {}
    prefix = json.dumps(name, ensure_ascii=False) + ":"
    fragments = []
    for text in cells:
        fragment = known.get(text)
        if fragment is None:
            fragment = known[text] = prefix + encode(text)
        fragments.append(fragment)
    return fragments


def _encode_text(text: str) -> str:
    # NONE in capital letters is a value of DICOM, such as that of ExposureModulationType.
    is_given = text == "NONE" or not is_missing(text)
    return json.dumps(text, ensure_ascii=False) if is_given else "null"


def _encode_cell(text: str) -> str:
    if is_missing(text):
        return "null"
    if text[0] == "[" and text[-1] == "]":
        parts = [_encode_number(part.strip()) for part in text[1:-1].split(",")]
        if None not in parts:
            return "[" + ",".join(part for part in parts if part is not None) + "]"
    return _encode_number(text) or json.dumps(text, ensure_ascii=False)


def _encode_number(text: str) -> str | None:
    if _INTEGER.fullmatch(text):
        return str(int(text)) if len(text) < 400 else None
    if _FLOAT.fullmatch(text) and math.isfinite(value := float(text)):
        return repr(value)
    return None

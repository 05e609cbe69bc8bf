"""Read transcripts and positions of clips: CLIP4MC metadata, or text-video pairs."""

import json
import math
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.formats.json_records import UnreadableRecord, iter_json_records
from medassets.storage.formats.missing import is_missing
from medassets.video.catalog.columns import RECORD_SCHEMA

_ROWS_AT_A_TIME = 16_384
_VID = re.compile(r"[A-Za-z0-9_-]+")
# About 30 years; longer values are not positions in a video, and do not fit a key.
_LONGEST_S = 10**9
_SHOWN = 60

Cells = dict[str, Any]


def read_metadata(path: Path, *, size_length: int = 0) -> pa.Table:
    """Read the metadata of raw videos: one row per record, in order of the file.

    A record has `vid, "transcript clip", "begin position", "end position"` (seconds) and `size`;
    `transcript, begin, end` are accepted, too. A record that cannot become a sample is kept,
    with its reason in `excluded` and an explanation with its row in `detail`.

    Args:
        path: JSON array, or one object per line; may be larger than memory.
        size_length: Required length of `size`; 0 accepts any length, or null.

    Returns:
        Table with the columns of `RECORD_SCHEMA`; `row` numbers lines, or the array's records, from 1.

    Raises:
        CatalogError: If the file is missing, not JSON, or a broken or truncated array.
    """
    return _read_table(path, _METADATA_FIELDS, size_length)


def read_pairs(path: Path, *, size_length: int = 0) -> pa.Table:
    """Read `text_video_pairs.json`: one row per existing clip.

    A record has `vid, clip_path, transcript, begin_time, end_time` (seconds) and `size`; its
    `duration` is not used. Otherwise as `read_metadata`.

    Raises:
        CatalogError: If the file is missing, not JSON, or a broken or truncated array.
    """
    return _read_table(path, _PAIRS_FIELDS, size_length)


def find_missing_fields(names: Collection[str], *, of_pairs: bool) -> list[tuple[str, ...]]:
    """Return which fields of a record are missing, each as the names that are accepted for it.

    Args:
        names: Names of the fields that it has.
        of_pairs: Whether it is a record of `read_pairs`, and not of `read_metadata`.
    """
    fields = _PAIRS_FIELDS if of_pairs else _METADATA_FIELDS
    wanted = (("vid",), fields.clip_path, fields.transcript, fields.begin, fields.end)
    return [accepted for accepted in wanted if accepted and not {*accepted} & {*names}]


def seconds_to_ms(seconds: float) -> int:
    """Round to whole milliseconds, half to even, as the number is written in decimal."""
    scaled = seconds * 1000
    nearest = round(scaled)
    # Binary multiplication may round a decimal half to the wrong side.
    if abs(abs(scaled - nearest) - 0.5) > 1e-3:
        return nearest
    return int((Decimal(repr(seconds)) * 1000).to_integral_value(ROUND_HALF_EVEN))


def _read_table(path: Path, fields: "_Fields", size_length: int) -> pa.Table:
    records = iter_json_records(path)
    rows = (_read_cells(row, value, fields, size_length) for row, value in records)
    # An empty array has no batch, so the schema is given.
    return pa.Table.from_batches(_iter_batches(rows), schema=RECORD_SCHEMA)


def _iter_batches(rows: Iterator[Cells]) -> Iterator[pa.RecordBatch]:
    while batch := list(islice(rows, _ROWS_AT_A_TIME)):
        yield pa.RecordBatch.from_pylist(batch, schema=RECORD_SCHEMA)


def _read_cells(row: int, value: object, fields: "_Fields", size_length: int) -> Cells:
    cells: Cells = {"row": row}
    try:
        _fill_cells(cells, value, fields, size_length)
    except SampleRejectedError as error:
        cells["excluded"] = str(error.reason)
        cells["detail"] = f"metadata row {row}: {error.detail}"
    return cells


def _fill_cells(cells: Cells, value: object, fields: "_Fields", size_length: int) -> None:
    """Fill in valid cells, and stop at the first error."""
    record = _check_object(value)
    cells["vid"] = _read_vid(record)
    if fields.clip_path:
        cells["clip_path"] = _read_text(record, fields.clip_path)
    cells["transcript"] = _read_text(record, fields.transcript)
    begin = _read_position(record, fields.begin)
    end = _read_position(record, fields.end)
    if end <= begin:
        raise SampleRejectedError(
            Reason.BAD_POSITION,
            f"it ends at {end / 1000:g} s and begins at {begin / 1000:g} s; the end must be after the begin",
        )
    cells["begin_ms"], cells["end_ms"] = begin, end
    cells["size"] = _read_size(record.get("size"), size_length)


def _check_object(value: object) -> Mapping[str, Any]:
    if isinstance(value, UnreadableRecord):
        raise SampleRejectedError(Reason.BAD_RECORD, value.detail)
    if not isinstance(value, dict):
        raise SampleRejectedError(
            Reason.BAD_RECORD, f"expected an object with vid, got {_show(value)}"
        )
    return value


def _get(record: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, Any]:
    for name in names:
        if name in record:
            return name, record[name]
    raise SampleRejectedError(Reason.BAD_RECORD, f"field {names[0]!r} is missing")


def _read_vid(record: Mapping[str, Any]) -> str:
    _, vid = _get(record, ("vid",))
    if not isinstance(vid, str):
        raise SampleRejectedError(
            Reason.BAD_RECORD, f"expected vid to be a string, got {_show(vid)}"
        )
    if not _VID.fullmatch(vid):
        raise SampleRejectedError(
            Reason.BAD_NAME, f"vid {_show(vid)} has characters other than A-Z a-z 0-9 _ -"
        )
    return vid


def _read_text(record: Mapping[str, Any], names: tuple[str, ...]) -> str:
    name, text = _get(record, names)
    if not isinstance(text, str | None):
        raise SampleRejectedError(
            Reason.BAD_RECORD, f"expected {name} to be a string, got {_show(text)}"
        )
    if text is None or is_missing(text):
        reason = Reason.BAD_RECORD if name == "clip_path" else Reason.EMPTY_TEXT
        said = text.strip() if text else ""
        what = f"says that nothing is given ({said!r})" if said else "is empty"
        raise SampleRejectedError(reason, f"{name} {what}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SampleRejectedError(
                Reason.BAD_RECORD,
                f"{name} is not valid UTF-8 at character {error.start}",
            ) from error
    return text


def _read_position(record: Mapping[str, Any], names: tuple[str, ...]) -> int:
    name, seconds = _get(record, names)
    if seconds is None:
        raise SampleRejectedError(Reason.NULL_POSITION, f"{name} is null")
    # Type and not isinstance, since bool is a subclass of int. NaN fails the comparison.
    if type(seconds) not in (int, float) or not 0 <= seconds <= _LONGEST_S:
        raise SampleRejectedError(
            Reason.BAD_POSITION, f"expected {name} to be seconds from 0 on, got {_show(seconds)}"
        )
    return seconds_to_ms(seconds)


def _read_size(size: object, length: int) -> list[float] | None:
    # An empty list says as much as null.
    if not length and (size is None or size == []):
        return None
    numbers = f"{length} numbers" if length else "at least one number"
    if not isinstance(size, list) or not size or (length and len(size) != length):
        got = f"{len(size)} values" if isinstance(size, list) else _show(size)
        raise SampleRejectedError(Reason.BAD_SIZE, f"expected size to be {numbers}, got {got}")
    finite = _as_finite(size)
    if finite is None:
        raise SampleRejectedError(
            Reason.BAD_SIZE, f"expected size to be finite numbers, got {_show(size)}"
        )
    return finite


def _as_finite(values: list[Any]) -> list[float] | None:
    # Type and not isinstance, since bool is a subclass of int.
    if not {int, float}.issuperset(map(type, values)):
        return None
    try:
        floats = list(map(float, values))
    except OverflowError:
        return None
    return floats if all(map(math.isfinite, floats)) else None


def _show(value: object) -> str:
    try:
        text = json.dumps(value)
    except RecursionError:
        return "values nested too deeply"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@dataclass(frozen=True)
class _Fields:
    """Names of a record's fields; the first existing one of several is used."""

    transcript: tuple[str, ...]
    begin: tuple[str, ...]
    end: tuple[str, ...]
    clip_path: tuple[str, ...] = ()


_METADATA_FIELDS = _Fields(
    transcript=("transcript clip", "transcript"),
    begin=("begin position", "begin"),
    end=("end position", "end"),
)
_PAIRS_FIELDS = _Fields(
    transcript=("transcript", "transcript clip"),
    begin=("begin_time", "begin", "begin position"),
    end=("end_time", "end", "end position"),
    clip_path=("clip_path",),
)

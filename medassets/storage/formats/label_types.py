"""Types that labels can be stored as, and how each is decoded."""

import json
import re
from collections.abc import Callable, Collection

import numpy as np
import numpy.typing as npt

from medassets.arrays import BytesLike
from medassets.storage.formats.missing import is_missing
from medassets.storage.formats.npy import MAGIC, decode_npy, read_dtype

OWN_TYPE = "float32"
"""The type of labels in every shard of medassets: float32, little-endian."""

TEXT, JSON, NPY = "text", "json", "npy"
"""Types that say what they are: decimal text, a JSON list, a `.npy` file."""

_WIDE = ("float32", "float64", "float16", "int32", "int64", "int16", "uint32", "uint64", "uint16")
RAW_TYPES = ("float32", "uint8", *_WIDE[1:], "int8", "bool", *(f">{name}" for name in _WIDE))
"""Types of raw numbers, little-endian unless they begin with `>`; of equals, the first is used."""

LARGEST_INTEGER = 2**24
"""Larger whole numbers cannot all be stored as float32. Source: IEEE 754, 24 bits of significand."""

MOST_BYTES = 1 << 16
"""More bytes are not labels of one sample."""

LARGEST = float(np.finfo(np.float32).max)
"""Largest number that float32 can hold."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,4})?"
# One kind of separator: a comma beside another one may be that of a decimal.
_NUMBERS = re.compile(
    "|".join(rf"{_NUMBER}(?:{mark}{_NUMBER})*" for mark in (r"\s*,\s*", r"\s*;\s*", r"\s+")),
    re.ASCII,
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d+(?:\.\d{3})*,\d+", re.ASCII)
_BOM = b"\xef\xbb\xbf"
_PRINTABLE = frozenset(b"\t\n\r" + bytes(range(0x20, 0x7F)))
_SHOWN = 40

Values = npt.NDArray[np.float64]


def parse_label_type(name: object) -> str:
    """Return the type that a declaration names, such as `int32`, `>f4`, `text` or `json`.

    Raises:
        ValueError: If there is no such type.
    """
    if name in (TEXT, JSON, NPY):
        return str(name)
    text = name if isinstance(name, str) else ""
    order, plain = (text[0], text[1:]) if text[:1] in ("<", ">") else ("", text)
    try:
        dtype = read_dtype(plain)
    except ValueError:
        dtype = None
    is_wide = dtype is not None and dtype.itemsize > 1
    found = "" if dtype is None else (">" if order == ">" and is_wide else "") + dtype.name
    if found not in RAW_TYPES:
        msg = (
            f"expected a type of numbers such as float32, int16 or >float32 (big-endian), or one of "
            f"{TEXT}, {JSON}, {NPY}, got {name!r}"
        )
        raise ValueError(msg)
    return found


def is_text(content: BytesLike) -> bool:
    """Tell whether bytes are printable ASCII throughout, which raw numbers hardly ever are.

    The mark of UTF-8 may precede it.
    """
    data = bytes(content).removeprefix(_BOM)
    return bool(data) and _PRINTABLE.issuperset(data)


def is_json_list(content: BytesLike) -> bool:
    """Tell whether text begins as a JSON list does."""
    return bytes(content).removeprefix(_BOM).lstrip()[:1] == b"["


def read_decimal_comma(content: BytesLike) -> float | None:
    """Return the number that two whole numbers with a comma between them may also be."""
    text = bytes(content).removeprefix(_BOM).decode("latin-1").strip()
    if _DECIMAL_COMMA.fullmatch(text) is None:
        return None
    return float(text.replace(".", "").replace(",", "."))


def is_npy(content: BytesLike) -> bool:
    """Tell whether bytes begin as a `.npy` file does."""
    return bytes(content[: len(MAGIC)]) == MAGIC


def decode_as(content: BytesLike, label_type: str, *, unknown: Collection[int] = ()) -> Values:
    """Decode labels of a known type.

    Args:
        content: The member.
        label_type: One of `RAW_TYPES`, `TEXT`, `JSON`, `NPY`.
        unknown: Indices of labels that may be NaN, because their json says that they are unknown.

    Returns:
        Float64, shape (labels,); every known value is finite, and float32 can hold it: whole numbers
        exactly, others rounded.

    Raises:
        ValueError: If the content is not of that type, is empty, or has a value that is no label.
    """
    if not len(content) or len(content) > MOST_BYTES:
        msg = f"{len(content):,} bytes; expected 1 to {MOST_BYTES:,} bytes of labels"
        raise ValueError(msg)
    # Bytes of another type may be a signalling NaN.
    with np.errstate(invalid="ignore"):
        values = _DECODERS.get(label_type, _decode_raw)(bytes(content), label_type)
    known = values.copy() if unknown else values
    known[[i for i in unknown if i < len(values) and np.isnan(values[i])]] = 0
    _check_values(known, is_float="float" in label_type)
    return values


def encode_labels(values: Values) -> bytes:
    """Return labels as a shard stores them: float32, little-endian."""
    return values.astype("<f4").tobytes()


def show_values(values: Values, *, most: int = 6) -> str:
    """Return labels as a message shows them, such as `0, 1, 0.25`."""
    more = f", ... ({len(values)} in all)" if len(values) > most else ""
    return ", ".join(f"{value:.9g}" for value in values[:most].tolist()) + more


def shorten_text(content: BytesLike) -> str:
    """Return the beginning of bytes as a message shows a text."""
    text = ascii(bytes(content[:_SHOWN]).decode("latin-1"))
    return text + ("..." if len(content) > _SHOWN else "")


def _decode_raw(content: bytes, label_type: str) -> Values:
    order = ">" if label_type.startswith(">") else "<"
    dtype = np.dtype(label_type.removeprefix(">")).newbyteorder(order)
    if len(content) % dtype.itemsize:
        msg = f"{len(content)} bytes are no whole number of {label_type} values"
        raise ValueError(msg)
    if label_type == "bool":
        values = np.frombuffer(content, np.uint8)
        if values.max() > 1:
            msg = f"a byte {values.max()} is neither true (1) nor false (0)"
            raise ValueError(msg)
        return values.astype(np.float64)
    return np.frombuffer(content, dtype).astype(np.float64)


def _decode_text(content: bytes, _: str) -> Values:
    text = content.decode("utf-8-sig", errors="replace").strip()
    if _NUMBERS.fullmatch(text) is None:
        parts = re.split(r"[\s,;]+", text)
        missing = next((n for n, part in enumerate(parts) if is_missing(part)), None)
        if missing is not None and len(parts) > 1:
            msg = f"label {missing} is not given ({parts[missing]!r})"
            raise ValueError(msg)
        mixed = all(re.fullmatch(_NUMBER, part, re.ASCII) for part in parts)
        why = "; its separators differ, so a comma may be that of a decimal" if mixed else ""
        msg = f"the text {shorten_text(content)} is no list of decimal numbers{why}"
        raise ValueError(msg)
    return np.array([float(part) for part in re.findall(_NUMBER, text)], np.float64)


def _decode_json(content: bytes, _: str) -> Values:
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError) as error:
        msg = f"{shorten_text(content)} is no JSON list ({error})"
        raise ValueError(msg) from error
    if not isinstance(listed, list) or not listed:
        msg = f"expected a JSON list of numbers, found {shorten_text(content)}"
        raise ValueError(msg)
    for index, value in enumerate(listed):
        if not isinstance(value, int | float):
            msg = f"label {index} of the JSON list is {ascii(value)[:_SHOWN]}, not a number"
            raise ValueError(msg)
    try:
        return np.array([float(value) for value in listed], np.float64)
    except OverflowError as error:
        msg = "the JSON list has a number that float32 cannot hold"
        raise ValueError(msg) from error


def _decode_npy(content: bytes, _: str) -> Values:
    array = decode_npy(content)
    if not array.size or array.size != max(array.shape, default=1):
        msg = f"a .npy of shape {array.shape}; expected one axis of labels"
        raise ValueError(msg)
    return array.ravel().astype(np.float64)


_DECODERS: dict[str, Callable[[bytes, str], Values]] = {
    TEXT: _decode_text,
    JSON: _decode_json,
    NPY: _decode_npy,
}


def _check_values(values: Values, *, is_float: bool) -> None:
    finite = np.isfinite(values)
    if not finite.all():
        msg = f"label {int(np.argmin(finite))} is not a finite number"
        raise ValueError(msg)
    fits = _fit_float32(values, LARGEST if is_float else LARGEST_INTEGER)
    if not fits.all():
        raise _refuse_value(float(values[int(np.argmin(fits))]))


def check_stored(value: float) -> None:
    """Refuse a number of a table that float32 cannot hold.

    Raises:
        ValueError: If it is too large, or a whole number that float32 rounds.
    """
    if not _fit_float32(np.array([value], np.float64), LARGEST).all():
        raise _refuse_value(value)


def _fit_float32(values: Values, largest: float) -> npt.NDArray[np.bool_]:
    fits = np.abs(values) <= largest
    if fits.all():
        rounded = values.astype(np.float32)
        # A fraction may be rounded, but not to nothing.
        fits = (rounded == values) | ((values != np.trunc(values)) & (rounded != 0))
    return fits


def _refuse_value(value: float) -> ValueError:
    return ValueError(f"{value:.9g} cannot be stored as a float32 label")

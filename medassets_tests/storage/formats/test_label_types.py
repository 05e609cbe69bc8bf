"""Types of labels: every one decodes to the numbers that numpy wrote, or is refused."""

import io
import json

import numpy as np
import pytest

from medassets.storage.formats.label_types import (
    MOST_BYTES,
    RAW_TYPES,
    decode_as,
    encode_labels,
    parse_label_type,
    show_values,
)

VALUES = (1, 0, 1, 2)


def encode(label_type: str, values: object) -> bytes:
    dtype = np.dtype(label_type.removeprefix(">"))
    return np.array(values).astype(dtype.newbyteorder(">" if ">" in label_type else "<")).tobytes()


def encode_npy(values: object) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(values))
    return file.getvalue()


@pytest.mark.parametrize("label_type", RAW_TYPES)
def test_raw_numbers_of_every_size_and_order_are_decoded(label_type: str) -> None:
    values = (1, 0, 1, 1) if label_type == "bool" else VALUES
    assert decode_as(encode(label_type, values), label_type).tolist() == list(values)


@pytest.mark.parametrize(
    "content",
    [b"1 0 1 2", b" 1,0, 1 ,2\r\n", b"1;0; 1;2", b"1.0\t0e0 +1 2.", b"\xef\xbb\xbf1\n0\n1\n2"],
)
def test_decimal_text_is_decoded(content: bytes) -> None:
    assert decode_as(content, "text").tolist() == list(VALUES)


def test_json_and_npy_are_decoded() -> None:
    assert decode_as(json.dumps([1, False, 1.0, 2]).encode(), "json").tolist() == list(VALUES)
    for dtype in (np.int8, np.float16, np.uint64, ">i4"):
        assert decode_as(encode_npy(np.array(VALUES, dtype)), "npy").tolist() == list(VALUES)
    assert decode_as(encode_npy(3), "npy").tolist() == [3]
    assert decode_as(encode_npy([VALUES]), "npy").tolist() == list(VALUES)


@pytest.mark.parametrize(
    ("label_type", "content", "match"),
    [
        ("float32", b"", "0 bytes; expected 1 to"),
        ("float32", bytes(MOST_BYTES + 4), "expected 1 to 65,536 bytes of labels"),
        ("float32", bytes(6), "6 bytes are no whole number of float32 values"),
        ("float32", encode("float32", [0, np.nan]), "label 1 is not a finite number"),
        ("float64", encode("int64", [0, 1]), "4.94.*e-324 cannot be stored as a float32 label"),
        ("float64", encode("float64", [1e39]), "1e.39 cannot be stored as a float32 label"),
        ("int64", encode("int64", [0, 2**53 + 1]), "cannot be stored as a float32 label"),
        ("uint32", encode("uint32", [2**24 + 1]), "16777217 cannot be stored"),
        ("bool", b"\0\2", "a byte 2 is neither true"),
        ("text", b"16777217", "16777217 cannot be stored"),
        ("text", b"9007199254740993", "cannot be stored"),
        ("text", b"0 nan 1", "label 1 is not given"),
        ("text", b"normal", "'normal' is no list of decimal numbers"),
        ("text", b"0,5;1,0", "its separators differ, so a comma may be that of a decimal"),
        ("text", b"0,5 1,0", "its separators differ"),
        ("text", b"0x10", "is no list of decimal numbers"),
        ("text", b"1_000", "is no list of decimal numbers"),
        ("json", b'{"A": 1}', "expected a JSON list of numbers"),
        ("json", b"[]", "expected a JSON list of numbers"),
        ("json", b"[0, null]", "label 1 of the JSON list is None"),
        ("json", b"[[0]]", "label 0 of the JSON list is"),
        ("json", b"[0, 1", "is no JSON list"),
        ("json", b"[1e400]", "not a finite number"),
        ("npy", encode_npy(np.eye(2)), r"shape \(2, 2\); expected one axis"),
        ("npy", encode_npy([])[:80], "header"),
    ],
)  # fmt: skip
def test_what_is_no_list_of_labels_is_refused(label_type: str, content: bytes, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        decode_as(content, label_type)


@pytest.mark.parametrize(
    ("name", "label_type"),
    [
        *((name, name) for name in RAW_TYPES),
        *(("<i4", "int32"), (">i4", ">int32"), ("<float64", "float64"), (">u1", "uint8")),
        *(("text", "text"), ("json", "json"), ("npy", "npy"), ("f2", "float16")),
    ],
)
def test_a_declared_type_is_known_by_its_usual_names(name: str, label_type: str) -> None:
    assert parse_label_type(name) == label_type


@pytest.mark.parametrize("name", ["float128", "string", "", None, 4, "c8", "O", "int32 "])
def test_other_types_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="expected a type of numbers such as float32"):
        parse_label_type(name)


def test_labels_are_stored_as_float32() -> None:
    values = np.array([0, -0.0, 1, 0.1], np.float64)
    assert encode_labels(values) == np.array([0, -0.0, 1, 0.1], "<f4").tobytes()
    assert show_values(np.arange(9.0)) == "0, 1, 2, 3, 4, 5, ... (9 in all)"


def test_a_signalling_nan_is_no_label() -> None:
    content = np.array([0x7FA00000, 0], "<u4").tobytes()
    with pytest.raises(ValueError, match="label 0 is not a finite number"):
        decode_as(content, "float32")

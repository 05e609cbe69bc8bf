"""The label decoder: the right values, or a question; never other values."""

import io
import json
from collections.abc import Sequence

import numpy as np
import pytest

from medassets.storage.formats.label_rules import (
    NOTHING_STATED,
    LabelError,
    LabelRules,
    StatedLabels,
)
from medassets.storage.formats.label_types import RAW_TYPES, decode_as
from medassets.storage.formats.labels import (
    UncertainTypeError,
    describe_content,
    find_label_type,
    find_readings,
    read_labels,
)

VECTORS: tuple[tuple[float, ...], ...] = (
    *((0, 1), (1,), (0, 0, 0), (3,), (0, 1, 2, 3), (-1, 0, 1), (0.25, 0.5), (0.123, 0.9)),
    *((10, 13), (255, 0), (1,) * 18, (0,) * 17 + (1,), (1e-7, 0.5), (3_000_000, 0)),
)


def encode(values: Sequence[float], label_type: str) -> bytes | None:
    """Return raw numbers as numpy writes them; None where the type cannot hold them."""
    dtype = np.dtype(label_type.removeprefix(">"))
    with np.errstate(all="ignore"):
        array = np.array(values, np.float64).astype(dtype)
    if dtype.kind != "f" and not np.array_equal(array.astype(np.float64), values):
        return None
    if not np.isfinite(array.astype(np.float64)).all():
        return None
    return array.astype(dtype.newbyteorder(">" if ">" in label_type else "<")).tobytes()


def write_all(values: Sequence[float], label_type: str) -> bytes | None:
    if label_type == "text":
        return " ".join(f"{value:.9g}" for value in values).encode()
    if label_type == "json":
        return json.dumps(list(values)).encode()
    if label_type == "npy":
        file = io.BytesIO()
        np.save(file, np.array(values))
        return file.getvalue()
    return encode(values, label_type)


def list_written(label_type: str) -> list[bytes]:
    """Return the vectors as a type stores them."""
    contents = (write_all(values, label_type) for values in VECTORS)
    return [content for content in contents if content is not None]


def state(values: Sequence[float]) -> StatedLabels:
    return StatedLabels.read({"labels": {f"n{i}": float(v) for i, v in enumerate(values)}})


@pytest.mark.parametrize("label_type", [*RAW_TYPES, "text", "json", "npy"])
@pytest.mark.parametrize("known", ["declared", "named", "counted", "nothing"])
def test_the_values_that_were_written_are_read_or_asked_about(label_type: str, known: str) -> None:
    for content in list_written(label_type):
        stored = decode_as(content, label_type)
        rules = LabelRules(label_type=label_type) if known == "declared" else LabelRules()
        stated = state(stored.tolist()) if known == "named" else StatedLabels()
        stated = StatedLabels(count=len(stored)) if known == "counted" else stated
        try:
            found = find_label_type([(content, stated)], rules)
            read = read_labels(content, found, stated=stated, rules=rules)
        except LabelError:
            assert known in ("counted", "nothing")
        else:
            assert np.array_equal(read.astype("<f4"), stored.astype("<f4"))


@pytest.mark.parametrize("label_type", [*RAW_TYPES, "text", "json", "npy"])
def test_a_contradiction_with_the_json_is_refused(label_type: str) -> None:
    for content in list_written(label_type):
        values = decode_as(content, label_type).tolist()
        for other in ([1 - value for value in values], [*values, 5], [*values[:-1], 0.5]):
            stated = state(other if other != values else [*values, 7])
            for rules in (LabelRules(), LabelRules(label_type=label_type)):
                with pytest.raises(LabelError):
                    read_labels(
                        content,
                        find_label_type([(content, stated)], rules),
                        stated=stated,
                        rules=rules,
                    )


@pytest.mark.parametrize("label_type", RAW_TYPES)
def test_the_rest_of_the_dataset_makes_a_type_certain(label_type: str) -> None:
    written = [(0, 1, 0), (1, 1, 0), (1, 0, 1), (0, 0, 0)]
    contents = [encode(values, label_type) or b"" for values in written]
    samples = [(content, StatedLabels(count=3)) for content in contents]
    found = find_label_type(samples)
    assert [read_labels(content, found).tolist() for content in contents] == [
        *map(list, written),
    ]


def test_one_bad_sample_does_not_change_the_type_of_the_others() -> None:
    good = [(np.array([n % 2, n % 3 == 0], "<f4").tobytes(), StatedLabels()) for n in range(30)]
    for bad in (b"0 1", np.array([np.nan, 1], "<f4").tobytes(), np.array([0, 1], "<i4").tobytes()):
        for place in (0, 15, 30):
            samples = [*good[:place], (bad, StatedLabels()), *good[place:]]
            assert find_label_type(samples) == "float32"
        with pytest.raises(LabelError, match=r"found|not a finite number"):
            read_labels(bad, "float32")


def test_a_declared_type_is_taken_even_for_odd_values() -> None:
    rules = LabelRules(label_type="float32")
    for content in (b"1024", np.array([1], "<i4").tobytes()):
        with pytest.raises(LabelError, match=r"found .* bytes"):
            read_labels(content, "float32")
        assert read_labels(content, "float32", rules=rules) == np.frombuffer(content, "<f4")


def test_names_and_values_of_the_declaration_are_checked() -> None:
    content = np.array([0, 2], "<f4").tobytes()
    with pytest.raises(LabelError, match="2 labels, but 3 names of labels"):
        read_labels(content, rules=LabelRules(columns=("a", "b", "c")))
    with pytest.raises(LabelError, match="label 1 is 2; the declaration allows 0, 1"):
        read_labels(content, rules=LabelRules(values=(0, 1)))


def test_allowed_values_and_names_help_to_find_the_type() -> None:
    content = np.array([0, 3], "<i2").tobytes()
    with pytest.raises(UncertainTypeError, match=r"4 bytes may be .*int16 .*declare `labels"):
        find_label_type([(content, StatedLabels(count=2))])
    assert find_label_type([(content, StatedLabels(count=2))], LabelRules(values=(0, 3))) == "int16"
    assert find_label_type(
        [(content, StatedLabels())], LabelRules(columns=("a", "b"), values=(0, 3))
    )


def test_what_is_there_is_described() -> None:
    assert describe_content(b"0 1\n") == "4 bytes of text, '0 1\\n'"
    assert describe_content(b"\x93NUMPY123") == "9 bytes of a .npy file"
    assert "int32 (0, 1)" in describe_content(np.array([0, 1], "<i4").tobytes())
    assert describe_content(b"") == "0 bytes that are labels of no known type"
    assert set(find_readings(b"7", StatedLabels())) == {"text"}


def test_a_comma_that_may_be_that_of_a_decimal_is_asked_about() -> None:
    samples = [(content, NOTHING_STATED) for content in (b"0,5", b"1,0", b"0,25")]
    with pytest.raises(UncertainTypeError, match=r"text \(0, 25\) or a decimal comma \(0.25\)"):
        find_label_type(samples)
    assert find_label_type(samples, LabelRules(label_type="text")) == "text"
    assert find_label_type(samples, LabelRules(columns=("A", "B"))) == "text"
    assert find_label_type([(c, StatedLabels(count=2)) for c, _ in samples]) == "text"
    assert find_label_type([(c, NOTHING_STATED) for c in (b"0,1", b"1,0", b"1,1")]) == "text"


def test_the_mark_of_utf8_is_no_part_of_the_labels() -> None:
    for content in (b"\xef\xbb\xbf0 1", b"\xef\xbb\xbf[0, 1]"):
        label_type = find_label_type([(content, NOTHING_STATED)])
        assert read_labels(content, label_type).tolist() == [0, 1]


def test_what_is_labels_of_no_type_is_named_as_what_it_is() -> None:
    array = io.BytesIO()
    np.save(array, np.array([2**24 + 1]))
    for content, match in (
        (b'{"A": 0, "B": 1}', r"the text .* is no list of decimal numbers"),
        (array.getvalue(), "16777217 cannot be stored as a float32 label"),
        (b"yes!", "the text 'yes!' is no list of decimal numbers"),
        (b"[NaN, 1]", "label 0 is not a finite number"),
        (b"0,1,", r"label 2 is not given"),
        (b"[0 1 1]", "is no JSON list"),
        (b"0,5;1,0,", "is no list|is not given"),
    ):
        label_type = find_label_type([(content, NOTHING_STATED)])
        with pytest.raises(LabelError, match=match) as caught:
            read_labels(content, label_type)
        assert "; found " in str(caught.value)
        assert "declare" not in str(caught.value)
        assert "float32 values" not in str(caught.value)

"""Reading metadata: every record ends in one row, and what is wrong is named by row."""

import json
import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import CatalogError, Reason
from medassets.storage.formats import json_records
from medassets.storage.formats.json_records import UnreadableRecord, iter_json_records
from medassets.video.catalog.columns import RECORD_SCHEMA
from medassets.video.catalog.metadata import (
    find_missing_fields,
    read_metadata,
    read_pairs,
    seconds_to_ms,
)

Write = Callable[[str | bytes], Path]

GOOD = {
    "vid": "aqz-KE-bpKQ",
    "transcript clip": "chop a tree",
    "begin position": 1.5,
    "end position": 4,
    "size": [0.25, 1],
}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes a metadata file."""

    def write_it(content: str | bytes) -> Path:
        path = tmp_path / "metadata.json"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_it


def lines(*records: Any) -> str:
    """Return records as JSON lines; a text stands for a line as it is."""
    return "".join(f"{r if isinstance(r, str) else json.dumps(r)}\n" for r in records)


def test_a_row_holds_what_a_record_says(write: Write) -> None:
    table = read_metadata(write(json.dumps([GOOD])))
    assert table.schema == RECORD_SCHEMA
    assert table.to_pylist() == [
        {
            "row": 1,
            "vid": "aqz-KE-bpKQ",
            "clip_path": None,
            "begin_ms": 1500,
            "end_ms": 4000,
            "transcript": "chop a tree",
            "size": [0.25, 1.0],
            "excluded": None,
            "detail": None,
        }
    ]


@pytest.mark.parametrize(
    "content",
    [
        json.dumps([GOOD, GOOD]),
        json.dumps([GOOD, GOOD], indent=4),
        f"\n\n  [{json.dumps(GOOD)}\n,\r\n{json.dumps(GOOD)}]  \n",
        lines(GOOD, GOOD),
        f"{json.dumps(GOOD)}\r\n\r\n   \n{json.dumps(GOOD)}",
    ],
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_arrays_and_lines_are_told_apart_by_content(
    write: Write, content: str, mark: bytes
) -> None:
    path = write(mark + content.encode())
    assert read_metadata(path)["vid"].to_pylist() == [GOOD["vid"]] * 2


def test_a_row_is_a_line_or_a_position_in_the_array(write: Write) -> None:
    assert read_metadata(write("\n\n" + lines(GOOD) + "\n" + lines(GOOD)))["row"].to_pylist() == [
        3,
        5,
    ]
    indented = write(json.dumps([GOOD, GOOD], indent=1))
    assert read_metadata(indented)["row"].to_pylist() == [1, 2]


def test_short_field_names_are_understood(write: Write) -> None:
    record = {"vid": "a", "transcript": "b", "begin": 0, "end": 0.001}
    row = read_metadata(write(lines(record))).to_pylist()[0]
    assert (row["transcript"], row["begin_ms"], row["end_ms"], row["size"]) == ("b", 0, 1, None)
    assert row["excluded"] is None


def _changed(**changes: Any) -> dict[str, Any]:
    fields = {"text": "transcript clip", "begin": "begin position", "end": "end position"}
    return GOOD | {fields.get(name, name): value for name, value in changes.items()}


def _without(field: str) -> dict[str, Any]:
    return {name: value for name, value in GOOD.items() if name != field}


BAD_RECORDS = {
    "no JSON": ('{"vid": "a", "size": [1,}', Reason.BAD_RECORD, "no JSON: .* at column 25"),
    "cut off": ('{"vid": "a", "trans', Reason.BAD_RECORD, "no JSON: Unterminated string"),
    "two objects": ("{} {}", Reason.BAD_RECORD, "no JSON: Extra data at column 4"),
    "too deep": ("[" * 100_000, Reason.BAD_RECORD, "no JSON: maximum recursion"),
    "huge integer": ("1" * 5000, Reason.BAD_RECORD, "no JSON: Exceeds the limit"),
    "no object": ("[1, 2]", Reason.BAD_RECORD, r"expected an object with vid, got \[1, 2\]"),
    "a text": ('"abc"', Reason.BAD_RECORD, 'expected an object with vid, got "abc"'),
    "null": ("null", Reason.BAD_RECORD, "expected an object with vid, got null"),
    "no vid": (_without("vid"), Reason.BAD_RECORD, "field 'vid' is missing"),
    "vid null": (_changed(vid=None), Reason.BAD_RECORD, "expected vid to be a string, got null"),
    "vid a number": (_changed(vid=7), Reason.BAD_RECORD, "expected vid to be a string, got 7"),
    "vid empty": (_changed(vid=""), Reason.BAD_NAME, 'vid "" has characters other than'),
    "vid with dot": (_changed(vid="a.b"), Reason.BAD_NAME, r'vid "a\.b" has characters other than'),
    "vid with path": (_changed(vid="../a"), Reason.BAD_NAME, "has characters other than A-Z"),
    "vid with newline": (_changed(vid="abc\n"), Reason.BAD_NAME, "has characters other than A-Z"),
    "vid not ASCII": (_changed(vid="añb"), Reason.BAD_NAME, "has characters other than A-Z"),
    "no text": (
        _without("transcript clip"),
        Reason.BAD_RECORD,
        "field 'transcript clip' is missing",
    ),
    "text empty": (_changed(text=""), Reason.EMPTY_TEXT, "transcript clip is empty"),
    "text blank": (_changed(text=" \t\n "), Reason.EMPTY_TEXT, "transcript clip is empty"),
    "text nan": (
        _changed(text="nan"),
        Reason.EMPTY_TEXT,
        "transcript clip says that nothing is given",
    ),
    "text NA": (
        _changed(text=" N/A "),
        Reason.EMPTY_TEXT,
        "transcript clip says that nothing is given",
    ),
    "text null": (_changed(text=None), Reason.EMPTY_TEXT, "transcript clip is empty"),
    "text a list": (
        _changed(text=["a"]),
        Reason.BAD_RECORD,
        "expected transcript clip to be a string",
    ),
    "half a character": (
        _changed(text="a\ud83d"),
        Reason.BAD_RECORD,
        "transcript clip is not valid UTF-8 at character 1",
    ),
    "no begin": (
        _without("begin position"),
        Reason.BAD_RECORD,
        "field 'begin position' is missing",
    ),
    "begin null": (_changed(begin=None), Reason.NULL_POSITION, "begin position is null"),
    "end null": (_changed(end=None), Reason.NULL_POSITION, "end position is null"),
    "begin a text": (
        _changed(begin="1.5"),
        Reason.BAD_POSITION,
        'expected begin position to be seconds from 0 on, got "1.5"',
    ),
    "begin true": (
        _changed(begin=True),
        Reason.BAD_POSITION,
        "expected begin position to be seconds from 0 on, got true",
    ),
    "begin negative": (
        _changed(begin=-0.5),
        Reason.BAD_POSITION,
        "expected begin position to be seconds from 0 on, got -0.5",
    ),
    "end NaN": (
        _changed(end=float("nan")),
        Reason.BAD_POSITION,
        "expected end position to be seconds from 0 on, got NaN",
    ),
    "end infinite": (_changed(end=float("inf")), Reason.BAD_POSITION, "got Infinity"),
    "end absurd": (
        _changed(end=10**30),
        Reason.BAD_POSITION,
        "expected end position to be seconds from 0 on, got 1000",
    ),
    "end before begin": (_changed(end=1), Reason.BAD_POSITION, "ends at 1 s and begins at 1.5 s"),
    "end at begin": (_changed(end=1.5), Reason.BAD_POSITION, "the end must be after the begin"),
    "under 1 ms": (_changed(end=1.5004), Reason.BAD_POSITION, "the end must be after the begin"),
    "size a number": (
        _changed(size=3),
        Reason.BAD_SIZE,
        "expected size to be at least one number, got 3",
    ),
    "size of texts": (
        _changed(size=["a"]),
        Reason.BAD_SIZE,
        r'expected size to be finite numbers, got \["a"\]',
    ),
    "size with null": (
        _changed(size=[1, None]),
        Reason.BAD_SIZE,
        "expected size to be finite numbers",
    ),
    "size with truth": (
        _changed(size=[1, True]),
        Reason.BAD_SIZE,
        "expected size to be finite numbers",
    ),
    "size with NaN": (_changed(size=[float("nan")]), Reason.BAD_SIZE, r"got \[NaN\]"),
    "size too large": (
        _changed(size=[10**400]),
        Reason.BAD_SIZE,
        "expected size to be finite numbers",
    ),
    "size of lists": (
        _changed(size=[[1], [2]]),
        Reason.BAD_SIZE,
        "expected size to be finite numbers",
    ),
}


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_bad_record_costs_only_itself_and_is_named_by_its_line(write: Write, name: str) -> None:
    record, reason, detail = BAD_RECORDS[name]
    table = read_metadata(write(lines(GOOD, GOOD, record, GOOD)))
    assert table["row"].to_pylist() == [1, 2, 3, 4]
    assert table["excluded"].to_pylist() == [None, None, str(reason), None]
    found = table["detail"].to_pylist()[2]
    assert found.startswith("metadata row 3: ")
    assert len(found) < 200
    assert re.search(detail, found), found


@pytest.mark.parametrize(
    "name", [n for n, (record, *_) in BAD_RECORDS.items() if not isinstance(record, str)]
)
def test_a_bad_record_of_an_array_is_named_by_its_position(write: Write, name: str) -> None:
    record, reason, _ = BAD_RECORDS[name]
    table = read_metadata(write(json.dumps([GOOD, record, GOOD], indent=2)))
    assert table["excluded"].to_pylist() == [None, str(reason), None]
    assert table["detail"].to_pylist()[1].startswith("metadata row 2: ")


@pytest.mark.parametrize("opening", ["", "["])
def test_bytes_that_are_no_utf8_cost_their_record(write: Write, opening: str) -> None:
    bad = json.dumps(_changed(text="caf?")).encode().replace(b"?", b"\xe9")
    separator = b",\n" if opening else b"\n"
    content = separator.join([json.dumps(GOOD).encode(), bad, json.dumps(GOOD).encode()])
    table = read_metadata(write(opening.encode() + content + (b"]" if opening else b"")))
    assert table["excluded"].to_pylist() == [None, "bad_record", None]
    assert "not valid UTF-8" in table["detail"].to_pylist()[1]


def test_pairs_of_surrogates_are_one_character(write: Write) -> None:
    line = json.dumps(_changed(text="dig \N{PICK}\N{SMILING FACE WITH SUNGLASSES}"))
    assert "\\ud83d\\ude0e" in line
    text = read_metadata(write(line))["transcript"].to_pylist()[0]
    assert text == "dig \N{PICK}\N{SMILING FACE WITH SUNGLASSES}"


@pytest.mark.parametrize(("length", "excluded"), [(0, None), (2, None), (3, "bad_size")])
def test_the_declared_length_of_size_is_demanded(
    write: Write, length: int, excluded: str | None
) -> None:
    table = read_metadata(write(lines(GOOD)), size_length=length)
    assert table["excluded"].to_pylist() == [excluded]


def test_a_size_may_be_missing_unless_its_length_is_declared(write: Write) -> None:
    path = write(lines(_changed(size=None), _without("size"), _changed(size=[])))
    assert read_metadata(path)["size"].to_pylist() == [None] * 3
    assert read_metadata(path)["excluded"].to_pylist() == [None] * 3
    declared = read_metadata(path, size_length=16)
    assert declared["excluded"].to_pylist() == ["bad_size"] * 3
    details = declared["detail"].to_pylist()
    assert details[0].endswith("expected size to be 16 numbers, got null")
    assert details[2].endswith("expected size to be 16 numbers, got 0 values")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"metadata\.json, line 1: the file is empty"),
        (b" \n\n", r"metadata\.json, line 1: the file is empty"),
        (b"\xff\xfe[\x00]\x00", "UTF-16; save it as UTF-8"),
        (b"url,filename\na,b\n", r"line 1: no JSON object \(no JSON: .*one object per line"),
        (b"\n\n1\n2\n", "line 3: no JSON object, nor do the lines after it hold one"),
        (b"\x00\x00\x00\x20ftypisom" + bytes(range(256)) * 500, "line 1: no JSON object"),
        (b"{\n}", "line 1: no JSON object"),
        (
            b'[{"vid": 1},\n{"vid": 2,}]',
            "line 2: record 2: .* correct the file or download it again",
        ),
        (b'[{"vid": 1},\n\n{"vid": 2', "line 3: record 2: Expecting"),
        (b'[{"vid": 1},\n{"vid": "2', "line 2: record 2: Unterminated string"),
        (b'[{"vid": 1},\n', "line 2: the file ends within the array, after record 1"),
        (b'[{"vid": 1}\n', "line 2: the file ends within the array, after record 1"),
        (b"[", "line 1: the file ends within the array, after record 0"),
        (b'[{"vid": 1}\n{"vid": 2}]', "line 2: expected ',' or ']' after record 1, got '{'"),
        (b"[1, 2,]", "line 1: record 3: Expecting value"),
        (b'[{"vid": 1}]\n[', "line 2: text after the end of the array of 1 record"),
        (b"[" * 100_000, "line 1: record 1: maximum recursion"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_line_and_remedy(
    write: Write, content: bytes, message: str
) -> None:
    with pytest.raises(CatalogError, match=message):
        read_metadata(write(content))


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nothing\.json: cannot be read \(No such file"):
        read_metadata(tmp_path / "nothing.json")


def test_an_empty_array_has_no_rows(write: Write) -> None:
    assert read_metadata(write(" [ ] ")).num_rows == 0


def test_garbage_is_given_up_after_a_thousand_lines(write: Write) -> None:
    path = write(lines(*["garbage"] * 1000, GOOD))
    with pytest.raises(CatalogError, match="line 1: no JSON object"):
        read_metadata(path)
    assert read_metadata(write(lines(*["garbage"] * 999, GOOD)))["vid"].null_count == 999


def test_an_endless_line_costs_its_record_and_no_memory(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "_MAX_RECORD_BYTES", 500)
    long = json.dumps(GOOD | {"vid": "x" * 2000})
    table = read_metadata(write(lines(GOOD, long, GOOD)))
    assert table["excluded"].to_pylist() == [None, "bad_record", None]
    assert "longer than 500 bytes" in table["detail"].to_pylist()[1]
    with pytest.raises(CatalogError, match="line 2: record 2"):
        read_metadata(write(f"[{json.dumps(GOOD)},\n{long[:-1]}"))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(
    values=st.lists(_values, max_size=8),
    indent=st.sampled_from([None, 0, 1, 3]),
    ascii_only=st.booleans(),
    block=st.integers(1, 40),
)
def test_an_array_read_in_pieces_is_the_array_read_at_once(
    tmp_path_factory: pytest.TempPathFactory,
    values: list[Any],
    *,
    indent: int | None,
    ascii_only: bool,
    block: int,
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(values, indent=indent, ensure_ascii=ascii_only), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_records, "_BLOCK_BYTES", block)
        found = list(iter_json_records(path))
    expected = json.loads(path.read_text(encoding="utf-8"))
    assert json.dumps([value for _, value in found]) == json.dumps(expected)
    assert [row for row, _ in found] == list(range(1, len(expected) + 1))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(["{}", '{"a": 1}', "", "  ", "bad", "[1]", "\t{}\r"]), max_size=12))
def test_lines_are_what_json_says_of_each(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    path.write_text("\n".join(["{}", *parts]), newline="")
    expected = {}
    for number, line in enumerate(["{}", *parts], start=1):
        if line.strip():
            expected[number] = None if line == "bad" else json.loads(line)
    found = dict(iter_json_records(path))
    assert {n: None if isinstance(v, UnreadableRecord) else v for n, v in found.items()} == expected


@settings(max_examples=500)
@given(st.floats(0, 1e9) | st.integers(0, 10**12).map(lambda n: n / 2000) | st.integers(0, 10**9))
def test_positions_are_rounded_half_to_even_as_they_are_written(seconds: float) -> None:
    exact = Decimal(str(seconds)) * 1000
    assert seconds_to_ms(seconds) == int(exact.quantize(Decimal(1), ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    ("seconds", "ms"), [(0.0005, 0), (0.0015, 2), (1.0005, 1000), (2.6755, 2676)]
)
def test_halves_that_binary_numbers_miss_are_halves(seconds: float, ms: int) -> None:
    assert seconds_to_ms(seconds) == ms


def test_pairs_name_their_clip_files(write: Write) -> None:
    pair = {
        "vid": "aqz-KE-bpKQ",
        "clip_path": "clips/aqz-KE-bpKQ_1.5_4.mp4",
        "transcript": "chop a tree",
        "begin_time": 1.5,
        "end_time": 4.0,
        "duration": 2.5,
        "size": [1.0],
    }
    path = write(json.dumps([pair, pair | {"clip_path": ""}, pair | {"clip_path": None}]))
    table = read_pairs(path)
    row = table.to_pylist()[0]
    assert row["clip_path"] == "clips/aqz-KE-bpKQ_1.5_4.mp4"
    assert (row["begin_ms"], row["end_ms"], row["size"]) == (1500, 4000, [1.0])
    assert table["excluded"].to_pylist() == [None, "bad_record", "bad_record"]
    assert table["detail"].to_pylist()[1] == "metadata row 2: clip_path is empty"


def test_fields_that_a_record_lacks_are_all_named() -> None:
    assert find_missing_fields(["vid", "transcript", "begin", "end"], of_pairs=False) == []
    assert find_missing_fields(["vid", "begin_time"], of_pairs=False) == [
        ("transcript clip", "transcript"),
        ("begin position", "begin"),
        ("end position", "end"),
    ]
    assert find_missing_fields(["vid", "begin_time", "end", "transcript"], of_pairs=True) == [
        ("clip_path",)
    ]

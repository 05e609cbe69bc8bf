"""Records of large JSON files against the json module, whole and damaged."""

import json
import random
from pathlib import Path

import pytest

from medassets.errors import CatalogError
from medassets.storage.formats import json_records
from medassets.storage.formats.json_records import UnreadableRecord, iter_json_records

RECORDS = [{"name": f"é {n}", "n": n, "deep": [n, {"a": None}], "x": n / 7} for n in range(50)]


@pytest.fixture(params=[1, 7, 1 << 20])
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """A file that is read in blocks of one byte, of a few, or whole."""
    monkeypatch.setattr(json_records, "_BLOCK_BYTES", request.param)
    return tmp_path / "records.json"


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("ascii_only", [True, False])
def test_records_of_an_array_are_those_of_the_json_module(
    path: Path, mark: bytes, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(RECORDS, indent=indent, ensure_ascii=ascii_only)
    path.write_bytes(mark + b" \n" + text.encode())
    assert list(iter_json_records(path)) == list(enumerate(RECORDS, start=1))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_are_numbered_and_empty_ones_skipped(path: Path, end: str) -> None:
    lines = [json.dumps(RECORDS[0]), "", "  ", json.dumps(RECORDS[1])]
    path.write_text(end.join(lines), newline="")
    assert list(iter_json_records(path)) == [(1, RECORDS[0]), (4, RECORDS[1])]


@pytest.mark.parametrize("values", [[], [12, 12.5, -3e5, "a", None, [True]], [[[]]]])
def test_arrays_of_any_values_are_read(path: Path, values: list[object]) -> None:
    path.write_text(json.dumps(values))
    assert [value for _, value in iter_json_records(path)] == values


def test_a_bad_line_loses_one_record(path: Path) -> None:
    path.write_bytes(b'{"n": 1}\n{"n": \n{"n": "\xff"}\n' + b"[" * 100_000 + b'\n{"n": 5}\n')
    first, second, third, fourth, fifth = [value for _, value in iter_json_records(path)]
    assert (first, third, fifth) == ({"n": 1}, {"n": "\udcff"}, {"n": 5})
    assert second == UnreadableRecord("no JSON: Expecting value at column 7")
    assert isinstance(fourth, UnreadableRecord)


def test_a_line_that_is_too_long_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_records, "_MAX_RECORD_BYTES", 16)
    (tmp_path / "a").write_text('{"n": 1}\n"' + "x" * 50 + '"\n{"n": 3}\n')
    long = UnreadableRecord("no JSON: longer than 16 bytes")
    assert list(iter_json_records(tmp_path / "a")) == [(1, {"n": 1}), (2, long), (3, {"n": 3})]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "line 1: the file is empty"),
        (" \n\t", "line 1: the file is empty"),
        ('[{"n": 1},\n{"n": }]', "line 2: record 2: Expecting value"),
        ("[1,\n2", "line 2: the file ends within the array, after record 2"),
        ("[1,\n", "line 2: the file ends within the array, after record 1"),
        ("[1\n2]", "line 2: expected ',' or ']' after record 1, got '2'"),
        ("[1]\n\n[2]", "line 3: text after the end of the array of 1 records"),
        ("name,age\nA,3\n", r"line 1: no JSON object \(no JSON: Expecting value at column 1\)"),
        ("3\n4\n", "line 1: no JSON object, nor do"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(
    path: Path, text: str, match: str
) -> None:
    path.write_text(text)
    with pytest.raises(CatalogError, match=rf"records\.json, {match}"):
        list(iter_json_records(path))


def test_records_before_the_damage_of_an_array_are_yielded(path: Path) -> None:
    text = json.dumps(RECORDS)
    path.write_text(text[: random.Random(3).randrange(len(text))])
    found: list[object] = []
    with pytest.raises(CatalogError, match="write one object per line"):
        # A list keeps what it was extended with before the error.
        found.extend(record for _, record in iter_json_records(path))
    assert 0 < len(found) < len(RECORDS)
    assert found == RECORDS[: len(found)]


def test_other_encodings_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("[]", encoding="utf-16")
    with pytest.raises(CatalogError, match="a, line 1: the file is UTF-16; save it as UTF-8"):
        list(iter_json_records(tmp_path / "a"))
    with pytest.raises(CatalogError, match=r"b: cannot be read \(No such file"):
        list(iter_json_records(tmp_path / "b"))

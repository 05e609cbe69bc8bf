"""`dataset_info.json` is read back as it was written, and a malformed one is named with its field."""

import re
from pathlib import Path

import pytest

from medassets.errors import CatalogError
from medassets.exports.dataset_info import encode_dataset_info, read_dataset_info


def test_the_three_splits_are_always_written_and_come_back(tmp_path: Path) -> None:
    info = tmp_path / "dataset_info.json"
    info.write_bytes(encode_dataset_info({"train": ["sample_000000_ü", "b"]}))
    expected = {"train": ["sample_000000_ü", "b"], "val": [], "test": []}
    assert read_dataset_info(info) == expected
    info.write_bytes(b"\xef\xbb\xbf" + info.read_bytes())
    assert read_dataset_info(info) == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b'{"train": [', "cannot be read as JSON"),
        (b"\xff\xfe", "cannot be read as JSON"),
        (b"[1]", r"expected an object with train, val, test, got \[1\]"),
        (b'{"train": [], "val": []}', "field 'test': expected a list of folder names, got none"),
        (b'{"train": "x", "val": [], "test": []}', "field 'train': expected a list .* got \"x\""),
        (b'{"train": [], "val": ["a", 7], "test": []}', r"field 'val'\[1\]: expected a folder"),
        (b'{"train": [], "val": [""], "test": []}', r"field 'val'\[0\]: expected a folder"),
        (b'{"train": [], "val": [], "test": [], "tset": []}', "field 'tset': expected only"),
    ],
)
def test_a_malformed_file_is_named_with_its_field(
    tmp_path: Path, content: bytes, words: str
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(content)
    with pytest.raises(CatalogError, match=f"{bad}: {words}"):
        read_dataset_info(bad)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"nowhere.json: cannot be read"):
        read_dataset_info(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"[" * 100_000, "nested too deep"),
        (b'{"train": ["\\ud800"], "val": [], "test": []}', "expected a folder name"),
        (b'{"train": ' + b"9" * 5000 + b"}", "4300 digits"),
    ],
)
def test_hostile_json_is_refused_by_the_name_of_its_file(
    content: bytes, what: str, tmp_path: Path
) -> None:
    path = tmp_path / "dataset_info.json"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=rf"{re.escape(str(path))}.*{what}"):
        read_dataset_info(path)

"""Samples are read from tars by study; damage is listed by tar and key."""

import json
from pathlib import Path

import pytest

from medassets.comparison.tars import read_tar_set
from medassets.tars.lists import FoundShard
from medassets_tests.small_shards import pack_tar


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (b"", "has no .json"),
        (b"{", ".json: "),
        (b"[]", ".json: expected an object"),
        (b'{"study_id": "\\u001b[2J"}', "study_id: expected a name"),
        (b'{"study_id": ["a"]}', "study_id: expected a name"),
        (b"{}", "gives no study_id"),
    ],
)
def test_a_sample_whose_study_is_not_known_is_named(
    tmp_path: Path, facts: bytes, words: str
) -> None:
    members = {"bin": b"x"} | ({"json": facts} if facts else {})
    pack_tar(tmp_path / "a.tar", {"k\x1b": members})
    found = read_tar_set([FoundShard(tmp_path / "a.tar")])
    (problem,) = found.problems
    assert words in str(problem)
    assert str(problem).startswith(f"{tmp_path}/a.tar: k\\x1b: ")
    assert not found.samples


def test_files_that_are_not_tars_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.tar").write_bytes(b"")
    (tmp_path / "folder.tar").mkdir()
    pack_tar(tmp_path / "nothing.tar", {})
    names = ("empty", "folder", "nothing", "gone")
    found = read_tar_set([FoundShard(tmp_path / f"{name}.tar") for name in names])
    assert [str(problem).partition(": ")[2].split(" (")[0] for problem in found.problems] == [
        "ends at byte 0 without an end mark: cut off",
        "cannot be read",
        "contains no sample",
        "does not exist",
    ]


def test_a_key_that_occurs_twice_is_named(tmp_path: Path) -> None:
    samples = [("0", {"json": json.dumps({"study_id": study}).encode()}) for study in "ab"]
    pack_tar(tmp_path / "a.tar", samples)
    found = read_tar_set([FoundShard(tmp_path / "a.tar")])
    assert [sample.study_id for sample in found.samples] == ["a", "b"]
    assert [problem.what for problem in found.problems] == ["this key occurs 2 times"]

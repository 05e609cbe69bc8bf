"""Deleting tars from the terminal: with the last of the shards that hold their samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets_tests.npz_source import write_declaration
from medassets_tests.reclaim.test_tars import Tars

pytestmark = pytest.mark.slow


def test_a_tar_goes_when_its_last_shard_was_made_before_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, medassets: Callable[..., Any]
) -> None:
    tars = Tars(tmp_path, 2)
    tars.write([5])
    fields = {
        "name": "tiny",
        "source": "webdataset",
        "folder": str(tmp_path / "source"),
        "shards": "shard-*.tar",
        "splits": ["train"],
        "label_names": ["one", "two"],
        "preprocessing": "none",
        "samples_per_shard": 2,
        "delete_sources": True,
    }
    write_declaration(tmp_path / "declared", fields)
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    delete = ("--delete-sources", "--yes", "--json")
    first = medassets("build", "tiny", "--partitions", "train-000002", *delete)
    assert first.code == 0, first.err
    assert (first.document["reclaimed"]["deleted"], tars.left) == ([], [0])
    (kept,) = first.document["reclaimed"]["kept"]
    assert kept["why"] == "samples of it belong to train-000000, which is not whole yet"
    rest = medassets("build", "tiny", *delete)
    assert rest.code == 0, rest.err
    assert rest.document["reclaimed"]["deleted"] == ["shard-000000.tar"]
    assert rest.document["reclaimed"]["kept"] == []
    assert tars.left == []
    again = medassets("build", "tiny", *delete)
    assert (again.code, again.document["kept"]) == (0, 3)

"""Metadata and videos that change under a dataset: what they do not touch stays as it is."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.testing.clip4mc import SyntheticVideos
from medassets_tests.end_to_end.films import paths_of

Record = dict[str, Any]


@pytest.fixture
def metadata(films: SyntheticVideos, tmp_path: Path) -> Callable[[Sequence[Record]], Path]:
    """Return a function that writes metadata."""

    def write(records: Sequence[Record]) -> Path:
        path = tmp_path / "metadata.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        return path

    return write


def read_rows(home: Any) -> dict[str, int | None]:
    """Return the row of each planned clip, as the catalog has it."""
    table = pq.read_table(home.paths.catalog, columns=["key", "row", "state"])
    return {row["key"]: row["row"] for row in table.to_pylist() if row["state"] == "planned"}


def name_rows(records: Sequence[Record]) -> dict[str, int]:
    """Return the row of each good record, by sample key."""
    return {
        f"{r['vid']}_{round(r['begin position'] * 1000)}_{round(r['end position'] * 1000)}": row
        for row, r in enumerate(records, start=1)
    }


@pytest.mark.timeout(600)
def test_records_that_come_go_or_move_touch_no_other_shard(
    films: SyntheticVideos,
    metadata: Callable[[Sequence[Record]], Path],
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    command: Callable[..., Any],
) -> None:
    records = [r for i, r in enumerate(films.records) if i not in films.reasons]
    paths = {**paths_of(films), "metadata": str(metadata(records))}
    declare_films(**paths, split_mode="all_train", samples_per_shard=4)
    home = make_home("films", "films")
    first = build(home, "--json")
    assert first.code == 0, first.text
    shards = home.shards()
    assert len(shards) == len(records) / 4
    new = {**records[0], "begin position": 0.25}
    for changed in ([new, *records], [new, *records[1:]], [new, *records[:0:-1]]):
        metadata(changed)
        again = build(home, "--json")
        assert again.code == 0, again.text
        assert again.result()["built"] == (["train-000006"] if changed[1] is records[0] else [])
        assert home.shards().items() >= shards.items()
        status = command(home, "status", "films", "--json").result()
        assert set(status["shards"].values()) == {"done"}
        # For messages, each row is where its record stands now; nowhere, if it is gone.
        gone = dict.fromkeys(name_rows(records))
        assert read_rows(home) == gone | name_rows(changed)
    info = json.loads((home.paths.folder / "dataset_info.json").read_text())
    assert len(info["train"]) == len(records) + 1

"""Metadata and videos that change under a dataset: what they do not touch stays as it is."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.shards.record import ShardRecord
from medassets.testing.clip4mc import SyntheticVideos
from medassets_tests.end_to_end.films import paths_of

pytestmark = pytest.mark.slow

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


def read_records(home: Any) -> list[ShardRecord]:
    """Return the records of all shards of frames."""
    folder = home.paths.folder / "frames"
    return [ShardRecord.read(path) for path in sorted(folder.glob("*/shard-*.json"))]


def name_rows(records: Sequence[Record]) -> dict[str, int]:
    """Return the row of each good record, by sample key."""
    return {
        f"{r['vid']}_{round(r['begin position'] * 1000)}_{round(r['end position'] * 1000)}": row
        for row, r in enumerate(records, start=1)
    }


@pytest.mark.timeout(1800)
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


def without_override(*command: str) -> list[str]:
    """Return a command as run by a root that may not read what permissions forbid."""
    lost = "-dac_override,-dac_read_search"
    return ["setpriv", f"--bounding-set={lost}", f"--inh-caps={lost}", *command]


def can_forbid(folder: Path) -> bool:
    """Whether a process of this machine can be kept from reading a file of its own."""
    secret = folder / "secret"
    secret.touch(mode=0)
    if os.geteuid():
        return True
    if shutil.which("setpriv") is None:
        return False
    return subprocess.run(without_override("cat", str(secret)), capture_output=True).returncode == 1


@pytest.mark.timeout(1800)
def test_a_video_that_may_not_be_read_costs_its_own_clips_and_no_other(
    films: SyntheticVideos,
    tmp_path: Path,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
) -> None:
    if not can_forbid(tmp_path):
        pytest.skip("this user reads everything")
    videos = shutil.copytree(films.videos_dir, tmp_path / "videos")
    (videos / "round.mp4").symlink_to("round.mp4")
    fields = {**paths_of(films), "videos_dir": str(videos)}
    declare_films(**fields, split_mode="all_train", max_rejected_share=0.6, max_excluded_share=1.0)
    home = make_home("films", "films")

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        command = [sys.executable, "-m", "medassets", *arguments, "--json"]
        done = subprocess.run(
            without_override(*command) if not os.geteuid() else command,
            env={**os.environ, "MEDASSETS_HOME": str(home.folder)},
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout)

    first, second, *_ = films.made
    (videos / films.made[first].path.name).chmod(0)
    assert run("build", "films")[0] == 0
    rows = pq.read_table(home.paths.catalog).to_pylist()
    excluded = {r["row"]: r for r in rows if r["excluded"] == "unreadable_source"}
    good = {i + 1: r for i, r in enumerate(films.records) if i not in films.reasons}
    assert sorted(excluded) == [row for row, r in good.items() if r["vid"] == first]
    for row, one in excluded.items():
        assert one["detail"].startswith(f"metadata row {row}: ")
        assert "Permission denied" in one["detail"]
    others = {key for key in name_rows(list(good.values())) if not key.startswith(first)}
    assert read_rows(home).keys() == others

    # Later, when its clips have their places: a whole shard stays, one made anew goes without it.
    (videos / films.made[second].path.name).chmod(0)
    assert run("build", "films")[1]["built"] == []
    # The published manifest keeps what it lists, unless it may shrink.
    assert run("build", "films", "--force")[0] == 1
    assert run("build", "films", "--no-refresh", "--allow-shrink")[0] == 0
    rejected = [r for record in read_records(home) for r in record.rejected]
    assert {r.key for r in rejected} == {key for key in others if key.startswith(second)}
    assert {r.reason for r in rejected} == {"unreadable_source"}
    assert all("Permission denied" in r.detail for r in rejected)
    assert set(run("status", "films")[1]["shards"].values()) == {"done"}

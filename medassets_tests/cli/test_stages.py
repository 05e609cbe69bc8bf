"""Commands on a dataset with two stages of shards: none is passed over in silence."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.clip4mc import SyntheticVideos
from medassets_tests.cli.conftest import write_films

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
KEYS = ["train-000000", "train-000001", "train-000002"]


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)


def test_damaged_clips_are_found_and_the_remedy_mends_them(
    medassets: Medassets, built_films: Path
) -> None:
    fine = medassets("verify", "films")
    assert fine.code == 0
    assert [line for line in fine.out.splitlines() if "checked" in line] == [
        f"films: {stage}: 3 shards checked (every byte), 0 damaged, 0 not made yet"
        for stage in ("frames", "clips")
    ]
    shards = [built_films / stage / "train/shard-000001.tar" for stage in ("clips", "frames")]
    whole = [shard.read_bytes() for shard in shards]
    flip(shards[0])
    ran = medassets("verify", "films")
    assert ran.code == 1
    assert f"{shards[0]}: " in ran.err
    assert "films: clips: 3 shards checked (every byte), 1 damaged" in ran.out
    flip(shards[1])
    document = medassets("verify", "films", "--json").document
    assert document["damaged"] == ["train-000001"]
    assert {p["stage"] for p in document["problems"]} == {"frames", "clips"}
    assert document["stages"]["clips"]["damaged"] == ["train-000001"]
    for command in document["remedy"].split(" && "):
        program, *arguments = shlex.split(command)
        assert program == "medassets"
        assert medassets(*arguments).code == 0
    assert [shard.read_bytes() for shard in shards] == whole
    assert medassets("verify", "films").code == 0


def test_a_stage_narrows(medassets: Medassets, built_films: Path) -> None:
    flip(built_films / "clips/train/shard-000000.tar")
    (built_films / "clips/train/shard-000002.tar").unlink()
    assert medassets("verify", "films", "--stage", "frames").code == 0
    assert medassets("verify", "films", "--stage", "clips").code == 1
    assert medassets("status", "films", "--stage", "frames").code == 0
    assert list(medassets("status", "films", "--stage", "clips", "--json").document["stages"]) == [
        "clips"
    ]
    assert medassets("retry", "films", "--stage", "frames", "--json").document["built"] == []
    assert medassets("retry", "films", "--stage", "sound").code == 2


def test_all_clips_lost_are_remembered_by_the_record(
    medassets: Medassets, built_films: Path
) -> None:
    shutil.rmtree(built_films / "clips")
    ran = medassets("status", "films", "--json")
    assert ran.code == 1
    assert ran.document["stages"]["clips"]["counts"] == {"lost": 3}


def test_clips_that_the_declaration_asks_for_count_before_there_are_any(
    medassets: Medassets, built_films: Path, films: SyntheticVideos, tmp_path: Path
) -> None:
    shutil.rmtree(built_films / "clips")
    shutil.rmtree(built_films.parents[1] / "dagster")
    stages = medassets("status", "films", "--json").document["stages"]
    # Nobody asked for them and nobody knows of any.
    assert list(stages) == ["frames"]
    write_films(films, tmp_path / "declared", clips="copy")
    document = medassets("status", "films", "--json").document
    assert document["stages"]["clips"]["counts"] == {"missing": 3}
    ran = medassets("verify", "films")
    assert ran.code == 0
    assert "films: clips: 0 shards checked (every byte), 0 damaged, 3 not made yet" in ran.out

"""`medassets status`: every state a shard can be in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


def test_a_dataset_without_a_plan_is_only_work_to_do(medassets: Medassets, lungs: Declare) -> None:
    ran = medassets("status", "lungs")
    assert ran.code == 0
    assert ran.out == "lungs: nothing planned yet; `medassets build lungs` begins\n"
    document = medassets("status", "lungs", "--json").document
    assert document.pop("automation")["on"] is False
    assert document == {"dataset": "lungs", "planned": False, "shards": {}}


def test_all_built_is_a_table_of_done(medassets: Medassets, built: Path) -> None:
    ran = medassets("status", "lungs")
    assert ran.code == 0
    assert ran.err == ""
    rows = [line.replace("│", " ").split() for line in ran.out.splitlines() if "│" in line]
    assert rows == [[split, "2", "0", "0", "0", "0", "0"] for split in ("train", "valid")]
    assert "makes them whole" not in ran.out


def test_one_split_alone(medassets: Medassets, built: Path) -> None:
    document = medassets("status", "lungs", "--split", "valid", "--json").document
    assert list(document["shards"]) == ["valid-000000", "valid-000001"]
    ran = medassets("status", "lungs", "--split", "test")
    assert ran.code == 2
    assert "--split: lungs has no split 'test'; it has train, valid" in ran.err


def delete(shard: Path) -> None:
    shard.unlink()


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-512])


def lose_record(shard: Path) -> None:
    shard.with_suffix(".json").unlink()


@pytest.mark.parametrize("harm", [delete, cut, lose_record])
def test_a_shard_that_is_not_whole_is_lost_and_made_again(
    medassets: Medassets, built: Path, harm: Callable[[Path], None]
) -> None:
    shard = built / "valid/shard-000001.tar"
    before = shard.read_bytes()
    harm(shard)
    ran = medassets("status", "lungs")
    assert ran.code == 1
    assert "lost (made once, no longer whole on disk): valid-000001\n" in ran.out
    assert "`medassets build lungs` makes them whole" in ran.out
    document = medassets("build", "lungs", "--json").document
    assert (document["built"], document["kept"]) == (["valid-000001"], 3)
    assert shard.read_bytes() == before
    assert medassets("status", "lungs").code == 0


def test_another_declaration_makes_every_shard_stale_and_a_build_mends_it(
    medassets: Medassets, built: Path, lungs: Declare
) -> None:
    lungs(target_spacing_mm=[5.0, 4.0, 8.0])
    ran = medassets("status", "lungs", "--json")
    assert ran.code == 1
    assert ran.document["counts"] == {"stale": 4}
    assert len(medassets("build", "lungs", "--json").document["built"]) == 4
    assert medassets("status", "lungs").code == 0


def test_watching_ends_when_nothing_is_left(medassets: Medassets, built: Path) -> None:
    ran = medassets("status", "lungs", "--watch")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)
    assert " samples (100.0%), 4 of 4 shards, " in ran.out


@pytest.mark.parametrize("option", [("--split", "train"), ("--list", "rejected")])
def test_a_part_is_not_watched(medassets: Medassets, built: Path, option: tuple[str, str]) -> None:
    ran = medassets("status", "lungs", "--watch", *option)
    assert ran.code == 2
    assert f"{option[0]}: not possible with --watch" in ran.err

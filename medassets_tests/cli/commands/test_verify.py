"""`medassets verify`: every sort of damage is named, with the command that mends it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.session import Session
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace
from medassets_tests.cli.scans import KEYS, Scans

Medassets = Callable[..., Any]
KEY = "train-000001"


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)


def truncate(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-1024])


def lose_record(shard: Path) -> None:
    shard.with_suffix(".json").unlink()


def break_record(shard: Path) -> None:
    record = shard.with_suffix(".json")
    record.write_bytes(record.read_bytes()[:300])


def edit_record(shard: Path) -> None:
    record = shard.with_suffix(".json")
    text = record.read_text()
    record.write_text(text.replace('"key": "train_', '"key": "other_', 1))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (flip, "CRC-32 differs"),
        (truncate, "its record says"),
        (lose_record, "the record is missing"),
        (break_record, "not a shard record"),
        (edit_record, "other_"),
    ],
)
def test_damage_is_named_and_the_remedy_mends_it(
    medassets: Medassets, built: Path, harm: Callable[[Path], None], words: str
) -> None:
    shard = built / "train/shard-000001.tar"
    files = (shard, shard.with_suffix(".json"))
    before = [file.read_bytes() for file in files]
    harm(shard)

    ran = medassets("verify", "lungs")
    assert ran.code == 1
    assert words in ran.err
    assert "Traceback" not in ran.err
    assert "lungs: 4 shards checked (every byte), 1 damaged, 0 not made yet\n" in ran.out

    as_json = medassets("verify", "lungs", "--json")
    assert as_json.code == 1
    assert as_json.document["damaged"] == [KEY]
    remedy = as_json.document["remedy"]
    assert f"make them again:  {remedy}" in ran.err
    assert medassets(*remedy.split()[1:]).code == 0
    assert [file.read_bytes() for file in files] == before
    assert medassets("verify", "lungs").code == 0


def test_whole_shards_pass(medassets: Medassets, built: Path) -> None:
    ran = medassets("verify", "lungs")
    assert (ran.code, ran.err) == (0, "")
    document = medassets("verify", "lungs", "--json").document
    assert (len(document["checked"]), document["damaged"], document["remedy"]) == (4, [], None)


def test_quick_compares_sizes_and_partitions_choose(medassets: Medassets, built: Path) -> None:
    flip(built / "train/shard-000001.tar")
    quick = medassets("verify", "lungs", "--quick")
    assert quick.code == 0
    assert "(sizes only)" in quick.out
    others = "train-000000,valid-000000..valid-000001"
    assert medassets("verify", "lungs", "--partitions", others).code == 0
    assert medassets("verify", "lungs", "--partitions", KEY).code == 1
    assert medassets("verify", "lungs", "--partitions", "test-000000").code == 2


@pytest.fixture
def one_shard(medassets: Medassets, lungs: Callable[..., Path]) -> Workspace:
    """A catalog and one shard of `lungs` that Dagster knows."""
    lungs()
    workspace = Session().workspace("lungs")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, "valid-000000"))
    assert medassets("reconcile", "lungs").code == 0
    return workspace


def test_shards_that_were_never_made_are_counted_and_one_that_is_gone_is_a_problem(
    medassets: Medassets, one_shard: Workspace
) -> None:
    num_others = len(one_shard.read_plan().partitions) - 1
    ran = medassets("verify", "lungs", "--partitions", "valid-000000,train-000000")
    assert (ran.code, ran.err) == (0, "")
    assert "1 shard checked (every byte), 0 damaged, 1 not made yet" in ran.out
    folder = one_shard.paths.split_folder("valid")
    folder.rename(folder.with_name("elsewhere"))
    for put in (Path.touch, Path.unlink):
        put(folder)
        ran = medassets("verify", "lungs")
        assert ran.code == medassets("status", "lungs").code == 1
        assert "shard-000000.tar: shard and record are missing, and it was made once" in ran.err
        assert f"0 shards checked (every byte), 1 damaged, {num_others} not made yet" in ran.out
        assert "build lungs --partitions valid-000000" in ran.err


def test_shards_that_a_manifest_lists_and_the_disk_lacks_are_missing(
    medassets: Medassets, built: Path
) -> None:
    for file in built.glob("valid/shard-*"):
        file.unlink()
    ran = medassets("verify", "lungs")
    assert ran.code == 1
    assert "valid: the manifest lists 7 samples, 7 of which no listed shard would have" in ran.err


def test_a_manifest_that_is_not_what_the_shards_say_is_named(
    medassets: Medassets, built: Path
) -> None:
    manifest = built / "train" / "manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-100])
    stray = built / "train" / "shard-000099.tar"
    stray.write_bytes(b"")
    done = medassets("verify", "lungs")
    assert done.code == 1
    assert f"{manifest}: missing, or not what the shards say" in done.err
    assert f"{stray}: no plan knows this shard" in done.err
    stray.unlink()
    assert medassets("build", "lungs").code == 0
    assert medassets("verify", "lungs").code == 0


def test_a_foreign_manifest_is_named_and_kept(medassets: Medassets, built: Path) -> None:
    manifest = built / "train" / "manifest.json"
    manifest.write_text('{"x": 1}')
    assert medassets("verify", "lungs").code == 1
    ran = medassets("build", "lungs")
    assert ran.code == 1
    assert f"{manifest}: this was not made by medassets" in ran.err
    assert manifest.read_text() == '{"x": 1}'
    manifest.unlink()
    assert medassets("build", "lungs").code == 0
    assert medassets("verify", "lungs").code == 0


@pytest.mark.parametrize("how", ["--quick", "--full"])
def test_a_lost_shard_whose_sources_were_deleted_is_named(
    scans: Scans, medassets: Medassets, how: str
) -> None:
    assert medassets("reclaim", "scans", "--delete-sources", "--yes").code == 0
    assert medassets("verify", "scans", how).code == 0
    shard = scans.shard(1)
    kept = {path: path.read_bytes() for path in (shard, shard.with_suffix(".json"))}
    for path in kept:
        path.unlink()
    ran = medassets("verify", "scans", how)
    assert ran.code == 1
    study = sorted(scans.originals.files)[2]
    assert (
        f"{KEYS[1]}: {study}: its source was deleted, and no shard holds it; restore {shard} and "
        f"its record, or {scans.place(2)}, from a copy"
    ) in ran.err
    document = medassets("verify", "scans", how, "--json").document
    assert len(document["lost"]) == len(document["stages"]["shards"]["lost"]) == 2
    assert medassets("verify", "scans", how, "--partitions", KEYS[0]).code == 0
    assert medassets("verify", "scans", how, "--partitions", KEYS[1]).code == 1
    for path, content in kept.items():
        path.write_bytes(content)
    assert medassets("verify", "scans", how).code == 0

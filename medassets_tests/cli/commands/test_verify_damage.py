"""`medassets verify DATASET` finds every sort of damage, in raw and in preprocessed shards."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.cli.building import build_declared
from medassets_tests.cli.damage import (
    cut,
    end_of,
    find_member,
    flip,
    put_text,
    read_samples,
    rename,
    replace_range,
)
from medassets_tests.npz_source import write_declaration

Medassets = Callable[..., Any]
GRID = {"target_spacing_mm": [4.0, 4.0, 8.0], "target_shape": [6, 7, 5]}
DATASETS: dict[str, dict[str, Any]] = {
    "raw": {"preprocessing": "none"},
    "small": {"preprocessing": "ct_clip", "hu_rule": "none", **GRID},
}


@pytest.fixture(scope="module")
def npz_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `raw` and `small` were built of NPZ files, 3 samples in each of 2 shards."""
    folder = tmp_path_factory.mktemp("npz")
    tree = make_npz_tree(folder / "tree")
    for name, changes in DATASETS.items():
        fields = {
            "name": name,
            **tree.fields(),
            "samples_per_shard": 3,
            "num_workers": 1,
            **changes,
        }
        write_declaration(folder / "declared", fields)
    build_declared(folder, *DATASETS)
    return folder


@pytest.fixture(params=DATASETS)
def dataset(
    request: pytest.FixtureRequest, npz_home: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A dataset's name, built in this test's home."""
    monkeypatch.setenv("MEDASSETS_DEFS", str(npz_home / "declared"))
    shutil.copytree(npz_home / "home", home)
    return request.param


@pytest.fixture
def shard(dataset: str, home: Path) -> Path:
    """Its second shard."""
    return home / "data" / dataset / "train" / "shard-000001.tar"


def verify(medassets: Medassets, dataset: str, *options: str) -> tuple[Any, list[dict[str, str]]]:
    """Run the command both ways and return what it said and its problems."""
    told = medassets("verify", dataset, *options)
    found = medassets("verify", dataset, *options, "--json")
    assert told.code == found.code
    assert "Traceback" not in told.err + found.err
    return told, found.document["problems"]


def test_whole_shards_pass(medassets: Medassets, dataset: str) -> None:
    told, problems = verify(medassets, dataset)
    assert (told.code, told.err, problems) == (0, "", [])
    assert f"{dataset}: 2 shards checked (every byte), 0 damaged, 0 not made yet\n" in told.out


@pytest.mark.parametrize("suffix", ["bin", "txt", "cls", "json"])
@pytest.mark.parametrize("where", ["header", "content", "padding"])
def test_one_flipped_byte_names_shard_sample_and_member(
    medassets: Medassets, dataset: str, shard: Path, suffix: str, where: str
) -> None:
    sample = read_samples(shard)[1]
    member = find_member(sample, suffix)
    end = member.offset + member.size_bytes
    places = {"header": member.offset - 500, "content": end - 1}
    if where == "padding" and not end % 512:
        end -= 1
    flip(shard, places.get(where, end))

    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert {(p["partition"], p["sample"]) for p in problems} == {("train-000001", sample.key)}
    assert f"{shard}: {sample.key}: member .{suffix} " in told.err
    # Sizes are as they were.
    assert medassets("verify", dataset, "--quick").code == 0


def test_a_flipped_byte_behind_the_last_sample_names_the_shard(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    flip(shard, shard.stat().st_size - 1)
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert [(p["path"], p["sample"]) for p in problems] == [(str(shard), "")]


def test_two_swapped_samples_are_both_named(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    first, second, third = read_samples(shard)
    swapped = cut(shard, third) + cut(shard, second) + cut(shard, first)
    replace_range(shard, first.offset, end_of(third), swapped)
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert f"{shard}: {third.key}: is at the position of {first.key}" in told.err
    assert f"{shard}: {first.key}: is at the position of {third.key}" in told.err
    # All three samples are whole.
    assert len(problems) == 2
    assert medassets("verify", dataset, "--quick").code == 0


def test_two_samples_with_swapped_names_are_both_named(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    first, second, _ = read_samples(shard)
    renamed = rename(cut(shard, first), first, second.key)
    renamed += rename(cut(shard, second), second, first.key)
    replace_range(shard, first.offset, end_of(second), renamed)
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert {p["sample"] for p in problems} == {first.key, second.key}


@pytest.mark.parametrize("where", ["in a member", "between two samples", "in a header"])
def test_a_truncated_shard_names_what_is_lost(
    medassets: Medassets, dataset: str, shard: Path, where: str
) -> None:
    _, second, third = read_samples(shard)
    ends = {
        "in a member": second.members[0].offset + 5,
        "between two samples": second.offset,
        "in a header": second.offset + 100,
    }
    os.truncate(shard, ends[where])
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert f"{shard}: the shard has {ends[where]:,} bytes, its record says" in told.err
    assert [p["sample"] for p in problems] == ["", second.key, third.key]
    assert all("cut off" in p["what"] for p in problems[1:])

    quick, problems = verify(medassets, dataset, "--quick")
    assert quick.code == 1
    assert [(p["path"], p["sample"]) for p in problems] == [(str(shard), "")]


def test_a_shard_without_its_end_is_named(medassets: Medassets, dataset: str, shard: Path) -> None:
    os.truncate(shard, end_of(read_samples(shard)[-1]))
    for options in ((), ("--quick",)):
        told, problems = verify(medassets, dataset, *options)
        assert told.code == 1
        assert [(p["path"], p["sample"]) for p in problems] == [(str(shard), "")]


@pytest.mark.parametrize("number", [0, 1, 2])
def test_a_missing_sample_is_named_alone(
    medassets: Medassets, dataset: str, shard: Path, number: int
) -> None:
    sample = read_samples(shard)[number]
    replace_range(shard, sample.offset, end_of(sample), b"")
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert [(p["sample"], p["what"]) for p in problems[1:]] == [(sample.key, "is missing")]
    assert medassets("verify", dataset, "--quick").code == 1


@pytest.mark.parametrize("number", [0, 2])
def test_an_extra_sample_is_named_alone(
    medassets: Medassets, dataset: str, shard: Path, number: int
) -> None:
    samples = read_samples(shard)
    extra = rename(cut(shard, samples[0]), samples[0], "train_9_a_9")
    place = end_of(samples[number])
    replace_range(shard, place, place, extra)
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    what = "is in the shard, but not in its record"
    assert [(p["sample"], p["what"]) for p in problems[1:]] == [("train_9_a_9", what)]
    assert medassets("verify", dataset, "--quick").code == 1


@pytest.mark.parametrize("number", [0, 2])
def test_a_duplicate_key_is_named_alone(
    medassets: Medassets, dataset: str, shard: Path, number: int
) -> None:
    samples = read_samples(shard)
    place = end_of(samples[number])
    replace_range(shard, place, place, cut(shard, samples[0]))
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    what = "is in the shard 2 times"
    assert [(p["sample"], p["what"]) for p in problems[1:]] == [(samples[0].key, what)]
    assert medassets("verify", dataset, "--quick").code == 1


def test_a_sample_instead_of_another_is_named_with_it(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    first, second, _ = read_samples(shard)
    replace_range(shard, second.offset, end_of(second), cut(shard, first))
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    named = {(p["sample"], p["what"]) for p in problems}
    assert {(second.key, "is missing"), (first.key, "is in the shard 2 times")} <= named


def test_damage_behind_a_missing_sample_is_named_too(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    first, _, third = read_samples(shard)
    flip(shard, third.members[0].offset)
    replace_range(shard, first.offset, end_of(first), b"")
    _, problems = verify(medassets, dataset)
    assert [p["sample"] for p in problems] == ["", first.key, third.key]
    assert "CRC-32" in problems[2]["what"]


def test_a_wrong_label_is_named(medassets: Medassets, dataset: str, shard: Path) -> None:
    sample = read_samples(shard)[2]
    member = find_member(sample, "cls")
    values = np.frombuffer(shard.read_bytes(), "<f4", 18, member.offset).copy()
    values[4] = 1 - values[4]
    replace_range(shard, member.offset, member.offset + 72, values.tobytes())
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert [p["sample"] for p in problems] == [sample.key]
    assert "member .cls is damaged" in told.err


def test_a_changed_text_is_named(medassets: Medassets, dataset: str, shard: Path) -> None:
    sample = read_samples(shard)[0]
    put_text(shard, sample, b"No finding.")
    told, problems = verify(medassets, dataset)
    assert told.code == 1
    assert {p["sample"] for p in problems} - {""} == {sample.key}
    assert f"{sample.key}: member .txt" in told.err


def _edit_count(shard: dict[str, Any]) -> str:
    shard["num_samples"] += 1
    return "num_samples is 4, expected 3"


def _edit_size(shard: dict[str, Any]) -> str:
    shard["size_bytes"] -= 512
    return "size_bytes is"


def _edit_sha256(shard: dict[str, Any]) -> str:
    shard["sha256"] = "0" * 64
    return 'sha256 is "0000'


def _edit_keys(shard: dict[str, Any]) -> str:
    shard["keys"][1] = "train_9_a_9"
    return 'sample "train_9_a_9" is listed, but not in the shard'


def _swap_keys(shard: dict[str, Any]) -> str:
    shard["keys"].reverse()
    return "its samples are listed in another order"


def _rename(shard: dict[str, Any]) -> str:
    shard["filename"] = "shard-000009.tar"
    return "is not listed"


@pytest.mark.parametrize(
    "edit", [_edit_count, _edit_size, _edit_sha256, _edit_keys, _swap_keys, _rename]
)
def test_an_edited_manifest_names_its_shard(
    medassets: Medassets,
    dataset: str,
    shard: Path,
    edit: Callable[[dict[str, Any]], str],
) -> None:
    manifest = shard.parent / "manifest.json"
    document = json.loads(manifest.read_bytes())
    words = edit(document["shards"][1])
    manifest.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    told, problems = verify(medassets, dataset, "--quick")
    assert (told.code, problems) == (1, [])
    assert f"{manifest}: missing, or not what the shards say: shard-000001.tar" in told.err
    assert words in told.err
    assert medassets("verify", dataset, "--full").code == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"shards": 3}', '{"shards": [3, {}]}'])
def test_a_manifest_that_is_none_is_named(
    medassets: Medassets, dataset: str, shard: Path, content: str
) -> None:
    manifest = shard.parent / "manifest.json"
    manifest.write_text(content)
    told, _ = verify(medassets, dataset)
    assert told.code == 1
    assert f"{manifest}: missing, or not what the shards say" in told.err


def test_a_build_keeps_an_edited_manifest_and_makes_it_again_once_it_is_moved_away(
    medassets: Medassets, dataset: str, shard: Path
) -> None:
    manifest = shard.parent / "manifest.json"
    before = manifest.read_bytes()
    manifest.write_bytes(before.replace(b"shard-000001.tar", b"shard-000009.tar"))
    assert medassets("verify", dataset).code == 1
    ran = medassets("build", dataset)
    assert ran.code == 1
    assert f"{manifest}: this was not made by medassets, or was changed since" in ran.err
    manifest.unlink()
    assert medassets("build", dataset).code == 0
    assert medassets("verify", dataset).code == 0
    assert manifest.read_bytes() == before


def test_an_edited_index_for_wids_is_named(medassets: Medassets, dataset: str, shard: Path) -> None:
    (index,) = [f for f in shard.parent.glob("*.json") if "shardlist" in f.read_text()]
    index.write_text(index.read_text().replace('"nsamples": 3', '"nsamples": 4', 1))
    told, _ = verify(medassets, dataset, "--quick")
    assert told.code == 1
    assert f"{index}: missing, or not what the shards say: shard-000000.tar: nsamples" in told.err

"""`medassets verify --original-pattern ...` finds what is wrong with either side, and names it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.shards.record import SampleEntry
from medassets.tars.header import encode_header
from medassets_tests.cli.damage import (
    cut,
    end_of,
    find_member,
    flip,
    put_text,
    rename,
    replace_range,
)
from medassets_tests.cli.pairs import (
    Pairs,
    failed,
    make_raw,
    studies,
    write_tars,
)


@pytest.mark.parametrize("suffix", ["bin", "txt", "cls", "json"])
@pytest.mark.parametrize("where", ["header", "content", "padding"])
def test_one_flipped_byte_is_found(pairs: Pairs, suffix: str, where: str) -> None:
    sample = pairs.samples[1]
    member = find_member(sample, suffix)
    end = member.offset + member.size_bytes
    content = end - 1
    if suffix == "json":
        content = member.offset + cut(pairs.shard, sample)[member.offset - sample.offset :].index(
            b"train_"
        )
    assert end % 512, "this member has no padding"
    flip(pairs.shard, {"header": member.offset - 500, "content": content, "padding": end}[where])

    told, document = pairs.verify()
    if where == "padding" and not pairs.shard.with_suffix(".json").exists():
        # No value depends on it.
        assert (told.code, document["passed"]) == (0, 6)
        return
    assert told.code == 1
    assert str(pairs.shard) in told.err
    # Without a record, nothing can be read behind a damaged header.
    if where != "header":
        assert sample.key in told.err
        assert document["compared"] >= 5
    else:
        assert "damaged" in told.err
        assert document["passed"] >= 4


def test_the_lowest_bit_of_a_value_is_found_where_it_matters(pairs: Pairs) -> None:
    member = find_member(pairs.samples[1], "bin")
    flip(pairs.shard, member.offset)
    told, document = pairs.verify()
    (changed,) = [s for s in document["samples"] if s["key"] == pairs.samples[1].key]
    assert changed["num_differing"] == 1
    # One step of float16 is what interpolation may differ by on another machine.
    tolerated = changed["preset"] == "ct_clip" and not pairs.shard.with_suffix(".json").exists()
    assert told.code == (0 if tolerated else 1)


def test_two_samples_with_swapped_names_are_found(pairs: Pairs) -> None:
    first, second, _ = pairs.samples
    renamed = rename(cut(pairs.shard, first), first, second.key)
    renamed += rename(cut(pairs.shard, second), second, first.key)
    replace_range(pairs.shard, first.offset, end_of(second), renamed)
    told, document = pairs.verify()
    assert told.code == 1
    what = f"{second.key}: its json is of study {first.key}; in shards of medassets both are the"
    assert what in told.err
    assert {p["key"] for p in document["problems"]} == {first.key, second.key}


def test_two_swapped_volumes_are_found(pairs: Pairs) -> None:
    first, second, _ = pairs.samples
    content = pairs.shard.read_bytes()
    bins = [find_member(sample, "bin") for sample in (first, second)]
    volumes = [content[m.offset : m.offset + m.size_bytes] for m in bins]
    size = min(len(volume) for volume in volumes)
    for member, volume in zip(bins, reversed(volumes), strict=True):
        replace_range(pairs.shard, member.offset, member.offset + size, volume[:size])
    told, document = pairs.verify()
    assert told.code == 1
    assert set(failed(document)) == {first.key, second.key}
    assert all("of the values differ" in " ".join(f) for f in failed(document).values())


def test_samples_in_another_order_are_the_same_samples(pairs: Pairs) -> None:
    first, second, third = pairs.samples
    swapped = cut(pairs.shard, third) + cut(pairs.shard, second) + cut(pairs.shard, first)
    replace_range(pairs.shard, first.offset, end_of(third), swapped)
    told, document = pairs.verify()
    has_record = pairs.shard.with_suffix(".json").exists()
    assert told.code == (1 if has_record else 0)
    assert set(failed(document)) >= ({first.key, third.key} if has_record else set())


@pytest.mark.parametrize("where", ["in a member", "between two samples", "in a header"])
def test_a_truncated_tar_is_named_and_the_rest_compared(pairs: Pairs, where: str) -> None:
    _, second, third = pairs.samples
    ends = {
        "in a member": second.members[-1].offset + 5,
        "between two samples": second.offset,
        "in a header": second.offset + 100,
    }
    os.truncate(pairs.shard, ends[where])
    told, document = pairs.verify()
    assert told.code == 1
    (problem,) = document["problems"]
    assert (problem["shard"], problem["key"]) == (str(pairs.shard), "")
    assert "cut off" in problem["what"]
    assert sorted(studies(document, "missing")) == [second.key, third.key]
    assert "can be read; 1 preprocessed tars are damaged" in told.err
    assert document["passed"] == 4


def test_a_truncated_original_is_named_and_the_rest_compared(pairs: Pairs) -> None:
    raw = pairs.raw / "raw-000000.tar"
    os.truncate(raw, raw.stat().st_size - 30_000)
    told, document = pairs.verify()
    assert told.code == 1
    (problem,) = document["problems"]
    assert problem["shard"] == str(raw)
    assert "cut off" in problem["what"]
    # Of the sample that is cut off, the json is still there.
    assert (document["passed"], list(failed(document))) == (4, ["train_5_a_1"])
    assert studies(document, "extra") == ["train_4_a_1"]
    assert "1 original tars are damaged" in told.err


def test_a_tar_that_is_not_there_is_named(recorded: Pairs) -> None:
    recorded.shard.unlink()
    told, document = recorded.verify(after=recorded.folder / "manifest.json")
    assert told.code == 1
    assert f"{recorded.shard}: does not exist" in told.err
    assert (document["passed"], len(document["missing"])) == (3, 3)


def test_a_missing_sample_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[1]
    replace_range(pairs.shard, sample.offset, end_of(sample), b"")
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    assert f"missing: {sample.key} ({pairs.raw}/raw-" in told.err
    assert studies(document, "missing") == [sample.key]


def test_an_extra_sample_is_named(pairs: Pairs) -> None:
    pairs.rewrite_raw(lambda s: None if s["json"]["study_id"] == "train_5_a_1" else s)
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    assert f"extra: train_5_a_1 ({pairs.shard}: train_5_a_1) is in no original tar" in told.err
    assert (studies(document, "extra"), document["failed"]) == (["train_5_a_1"], 0)


@pytest.mark.parametrize("number", [0, 2])
def test_a_duplicate_in_one_tar_is_named(pairs: Pairs, number: int) -> None:
    first, place = pairs.samples[0], end_of(pairs.samples[number])
    replace_range(pairs.shard, place, place, cut(pairs.shard, first))
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    (found,) = document["duplicates"]
    assert (found["study_id"], found["side"], len(found["samples"])) == (
        *(first.key, "preprocessed"),
        2,
    )
    assert f"duplicate: {first.key}: 2 preprocessed samples have it: {pairs.shard}" in told.err


def test_a_duplicate_in_another_tar_is_named(pairs: Pairs) -> None:
    shutil.copy(pairs.shard, pairs.folder / "shard-000007.tar")
    told, document = pairs.verify("--num-samples", "2")
    assert told.code == 1
    assert studies(document, "duplicates") == [sample.key for sample in pairs.samples]
    assert "shard-000007.tar" in told.err


def test_of_two_originals_one_that_makes_the_sample_is_enough(pairs: Pairs) -> None:
    other = make_raw(0)
    other["json"]["study_id"] = "train_5_a_1"
    write_tars(pairs.raw / "more", [other])
    (pairs.raw / "more" / "raw-000000.tar").rename(pairs.raw / "raw-.tar")
    told, document = pairs.verify()
    assert told.code == 1
    assert (document["passed"], studies(document, "duplicates")) == (6, ["train_5_a_1"])


def _edit_count(shard: dict[str, Any]) -> str:
    shard["num_samples"] += 1
    return "has 3 samples, its manifest says 4"


def _edit_size(shard: dict[str, Any]) -> str:
    shard["size_bytes"] += 512
    return "bytes, its manifest says"


@pytest.mark.parametrize("edit", [_edit_count, _edit_size])
@pytest.mark.parametrize("given", ["manifest", "folder"])
def test_an_edited_manifest_is_found(
    recorded: Pairs, edit: Callable[[dict[str, Any]], str], given: str
) -> None:
    manifest = recorded.folder / "manifest.json"
    document = json.loads(manifest.read_bytes())
    words = edit(document["shards"][1])
    manifest.write_text(json.dumps(document))
    told, found = recorded.verify(after=manifest if given == "manifest" else recorded.folder)
    assert (told.code, found["passed"]) == (1, 6)
    assert f"{recorded.shard}: has " in told.err
    assert words in told.err


def test_a_wrong_label_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[2]
    offset = find_member(sample, "cls").offset + 4 * 4
    values = np.frombuffer(pairs.shard.read_bytes(), "<f4", 1, offset)
    replace_range(pairs.shard, offset, offset + 4, (1 - values).tobytes())
    told, document = pairs.verify()
    assert told.code == 1
    assert list(failed(document)) == [sample.key]
    said = f"labels differ: number 4 is {1 - values[0]:g}, {values[0]:g} in the original"
    assert said in failed(document)[sample.key]
    assert f"failed: {sample.key} ({pairs.shard}: {sample.key}): " in told.err


def edit_json(shard: Path, sample: SampleEntry, change: Callable[[dict[str, Any]], None]) -> None:
    """Write another json of any length into a tar."""
    member = find_member(sample, "json")
    stop = member.offset + member.size_bytes
    facts = json.loads(shard.read_bytes()[member.offset : stop])
    change(facts)
    content = json.dumps(facts).encode()
    header = encode_header(f"{sample.key}.json", len(content))
    padding = bytes(-len(content) % 512)
    replace_range(shard, member.offset - 512, stop + -stop % 512, header + content + padding)


def test_facts_of_the_json_besides_its_volume_are_not_compared(recorded: Pairs) -> None:
    """Without records; with them, every byte of the json is compared."""
    for file in recorded.folder.glob("*.json"):
        file.unlink()
    changes = {"patient": "p", "split": "valid", "labels": {}, "report": {}, "num_classes": 17}
    for sample in reversed(recorded.samples):
        edit_json(recorded.shard, sample, lambda facts: facts.update(changes))
    assert recorded.verify()[0].code == 0


def test_a_changed_text_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[2]
    put_text(pairs.shard, sample, b"Study 5: all well.")
    told, document = pairs.verify()
    assert told.code == 1
    assert list(failed(document)) == [sample.key]
    said = "text differs from byte 9 on (18 bytes, 27 in the original)"
    assert said in failed(document)[sample.key]

"""Masks and lists that are damaged or too small: left out, or an error that names them."""

import json
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders import CTWindowSparseSDF
from medassets_tests.loaders.windows.window_data import (
    LUNG,
    MASKS,
    NO_CACHE,
    sorted_points,
    write_case,
    write_shards,
    write_sparse,
)


def test_too_few_points_and_missing_files_are_counted_apart(tmp_path: Path) -> None:
    write_case(tmp_path, "a", MASKS[0])
    small = np.zeros((9, 9, 9), np.uint8)
    small[:2] = 1
    write_case(tmp_path, "b", small)
    write_sparse(tmp_path / "c" / "windows" / f"{LUNG}_sparse.npz", small)
    write_case(tmp_path, "d", MASKS[0], stem="bone_w1500_l300")
    dataset = CTWindowSparseSDF(str(tmp_path), min_points=163)
    assert dataset.get_stats()["left_out"] == {"missing_file": 1, "too_few_points": 2}
    assert len(CTWindowSparseSDF(str(tmp_path), min_points=162)) == 3
    details = {item.case_id: item.detail for item in dataset.left_out}
    assert details["b"] == details["c"] == "162 points, 163 wanted"


@pytest.mark.parametrize("facts", [True, False])
def test_samples_of_shards_with_too_few_points_are_left_out(tmp_path: Path, facts: bool) -> None:
    small = np.zeros_like(MASKS[0])
    small[0, 0, :5] = True
    masks = {"a": {"lung": small}, "b": {"lung": MASKS[0]}, "c": {"lung": MASKS[1]}}
    dataset = CTWindowSparseSDF(str(write_shards(tmp_path, masks, facts=facts)))
    assert [i["case_id"] for i in dataset.instances] == ["b", "c"]
    assert [i["num_points"] for i in dataset.instances] == [m.sum() for m in MASKS[:2]]
    assert dataset.left_out[0].detail == "5 points, 100 wanted"
    np.testing.assert_array_equal(sorted_points(dataset[1]["sparse_index"]), np.argwhere(MASKS[1]))


@pytest.mark.parametrize("compression", ["none", "auto"])
@pytest.mark.parametrize("suffix", ["lung.bits", "lung.rank", "json"])
def test_a_damaged_shard_is_an_error_that_names_sample_and_remedy(
    tmp_path: Path, compression: str, suffix: str
) -> None:
    masks = {"a": {"lung": MASKS[0]}, "b": {"lung": MASKS[1]}}
    manifest = write_shards(tmp_path, masks, compression=compression)
    path = tmp_path / "shard-000000.tar"
    record = json.loads(path.with_suffix(".json").read_text())
    (member,) = (m for m in record["samples"][1]["members"] if m["suffix"] == suffix)
    content = bytearray(path.read_bytes())
    content[member["offset"] + member["size_bytes"] // 2] ^= 16
    path.write_bytes(content)
    dataset = CTWindowSparseSDF(str(manifest), **NO_CACHE)
    dataset[0]
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.tar: b: .*medassets build tiny"):
        dataset[1]
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.tar: b: "):
        CTWindowSparseSDF(str(manifest))


def test_a_record_whose_facts_are_none_of_ours_is_named(tmp_path: Path) -> None:
    manifest = write_shards(tmp_path, {"a": {"lung": MASKS[0]}})
    record = tmp_path / "shard-000000.json"
    document = json.loads(record.read_text())
    document["samples"][0]["facts"] = {"windows": 3}
    record.write_text(json.dumps(document))
    with pytest.raises(ShardIntegrityError, match=r"shard-000000\.json: not a shard record"):
        CTWindowSparseSDF(str(manifest))

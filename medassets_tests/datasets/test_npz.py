"""NPZ trees as a dataset: what becomes of values, and what catalog, record and manifest say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from medassets.shards.record import ShardRecord
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.location import Location, metadata_of

pytestmark = pytest.mark.slow  # whole builds

Locate = Callable[..., Location]

SHAPE = (16, 16, 16)


@pytest.fixture
def tree(tmp_path: Path) -> SyntheticTree:
    return make_npz_tree(tmp_path / "source", num_volumes=8, shape=(5, 6, 7))


@pytest.fixture
def declare(locate: Locate, tree: SyntheticTree) -> Locate:
    """Return a function that declares the tree, raw and in shards of four."""

    def declare_it(**changes: Any) -> Location:
        fields = {"target_shape": (), "target_spacing_mm": (), "samples_per_shard": 4}
        return locate(**{**fields, **tree.fields(splits=("train",)), **changes})

    return declare_it


def ramp() -> np.ndarray:
    """Every whole number in [-1024, 3071], once."""
    return np.arange(-1024, 3072).reshape(SHAPE)


def with_value(value: float, dtype: str = "float64") -> np.ndarray:
    volume = np.zeros(SHAPE, dtype)
    volume[3, 5, 7] = value
    return volume


def write(tree: SyntheticTree, **volumes: np.ndarray) -> None:
    """Replace volumes of the tree, by the study's name behind `train_`."""
    for study, volume in volumes.items():
        np.savez_compressed(tree.place(f"train_{study}"), data=volume)


def records(location: Location) -> list[ShardRecord]:
    paths = location.workspace.paths
    return [ShardRecord.read(paths.record(key)) for key in location.keys]


def test_values_that_float16_cannot_keep_are_refused_or_their_error_is_recorded(
    tree: SyntheticTree, declare: Locate
) -> None:
    kept = {"1_a_1": ramp(), "1_a_2": with_value(2049), "2_a_1": with_value(65504)}
    refused = {
        "2_a_2": with_value(70000),
        "3_a_1": with_value(np.nan),
        "3_a_2": with_value(np.inf),
        "4_a_1": with_value(65505),
        "4_a_2": with_value(-70000, "int32"),
    }
    write(tree, **kept, **refused)
    location = declare()
    location.build()
    errors = {
        f"train_{study}": np.abs(volume - volume.astype(np.float16).astype(np.float64)).max()
        for study, volume in kept.items()
    }
    assert errors == {"train_1_a_1": 1, "train_1_a_2": 1, "train_2_a_1": 0}
    first, second = records(location)
    noted = {s.key: s.facts["max_rounding_error"] for s in (*first.samples, *second.samples)}
    assert noted == errors
    rejected = {r.key: (r.reason, r.detail) for r in (*first.rejected, *second.rejected)}
    assert {key: reason for key, (reason, _) in rejected.items()} == {
        "train_2_a_2": "precision",
        "train_3_a_1": "not_finite",
        "train_3_a_2": "not_finite",
        "train_4_a_1": "precision",
        "train_4_a_2": "precision",
    }
    assert "70,000" in rejected["train_2_a_2"][1].replace("70000", "70,000")
    manifest = json.loads(location.workspace.paths.manifest("train").read_bytes())
    assert (manifest["max_rounding_error"], manifest["rejected"]) == (1, 5)
    shares = [shard["contents"].pop("hu_shares", None) for shard in manifest["shards"]]
    assert [found is not None for found in shares] == [True, False]
    assert [shard["contents"] for shard in manifest["shards"]] == [
        {"max_rounding_error": 1.0, "orientations": {"none stated": 3}},
        {"max_rounding_error": None},
    ]


@pytest.mark.parametrize(("tolerance", "num_rejected"), [(0.9, 1), (1.0, 0), (0, 1)])
def test_a_declared_tolerance_rejects(
    tree: SyntheticTree, declare: Locate, tolerance: float, num_rejected: int
) -> None:
    write(tree, **{"1_a_1": ramp()})
    location = declare(max_rounding_error=tolerance)
    location.build()
    rejected = [r for record in records(location) for r in record.rejected]
    assert [r.key for r in rejected] == ["train_1_a_1"][:num_rejected]
    for one in rejected:
        assert one.reason == "precision"
        assert f"{tolerance:g}" in one.detail


def test_the_manifest_weighs_shards_against_sources(tree: SyntheticTree, declare: Locate) -> None:
    location = declare()
    location.build()
    manifest = json.loads(location.workspace.paths.manifest("train").read_bytes())
    source_bytes = sum(tree.place(study).stat().st_size for study in tree.paths)
    shards = [location.workspace.paths.shard(key) for key in location.keys]
    total = sum(shard.stat().st_size for shard in shards)
    assert (manifest["num_shards"], manifest["samples_per_shard"]) == (2, 4)
    assert manifest["total_size_mb"] == round(total / 1e6, 3)
    assert manifest["total_size_gb"] == round(total / 1e9, 6)
    assert manifest["average_sample_size_mb"] == round(total / 8 / 1e6, 3)
    assert manifest["source_bytes"] == source_bytes
    assert manifest["compression_ratio"] == round(source_bytes / total, 4)
    assert (manifest["preprocessed"], manifest["sample_shape"]) == (False, None)


def test_the_ui_shows_depth_error_and_picture(tree: SyntheticTree, declare: Locate) -> None:
    location = declare()
    location.build()
    (catalog,) = location.events("catalog")
    coverage = catalog.metadata["medassets/coverage"]
    assert isinstance(coverage, dg.TableMetadataValue)
    rows = [(row.data["what"], row.data["value"]) for row in coverage.records]
    trees = [row for row in rows if str(row[0]).startswith("npz_trees")]
    assert trees == [("npz_trees: train: depth", "2"), ("npz_trees: train: files_by_depth: 2", "8")]
    (event,) = location.events("shards", "train-000000")
    shown = metadata_of(event)
    contents = shown["medassets/contents"]
    assert isinstance(contents, dict)
    assert contents.pop("hu_shares").keys() == {"plausible_share", "air_share", "dark_air_share"}
    unoriented = {"orientations": {"none stated": 4}}
    assert contents == {"max_rounding_error": 0.0, **unoriented}
    assert str(shown["medassets/preview"]).startswith("![preview](data:image/jpeg;base64,")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "corrupt_npz"),
        (b"PK\x03\x04 cut off", "corrupt_npz"),
        ({"other": np.zeros(SHAPE)}, "bad_header"),
        ({"data": np.zeros((4, 4))}, "bad_header"),
        ({"data": np.array([{"an": "object"}], dtype=object)}, "bad_header"),
        ({"data": np.ones(SHAPE)}, "constant_volume"),
        ({"data": np.arange(16.0).reshape(1, 4, 4)}, "too_few_slices"),
    ],
)
def test_a_bad_file_costs_its_own_sample(
    tree: SyntheticTree, declare: Locate, content: Any, reason: str
) -> None:
    place = tree.place("train_1_a_2")
    if isinstance(content, bytes):
        place.write_bytes(content)
    else:
        np.savez(place, **content)
    location = declare()
    location.build()
    first, second = records(location)
    assert [(r.key, r.reason) for r in first.rejected] == [("train_1_a_2", reason)]
    assert (first.num_samples, second.num_samples) == (3, 4)
    assert str(tree.folder) not in first.rejected[0].detail


def test_another_key_order_and_dtype_are_read(
    tmp_path: Path, declare: Locate, tree: SyntheticTree
) -> None:
    other = make_npz_tree(
        tmp_path / "other", num_volumes=3, shape=(5, 6, 35), dtype=">f4", order="F", key="volume"
    )
    location = declare(folder=str(other.folder), array_key="volume", name="other")
    location.build()
    assert [record.num_samples for record in records(location)] == [3]

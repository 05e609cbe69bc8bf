"""Loaders from the configurations that training scripts have."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ShardIntegrityError, SpecError
from medassets.loaders import build_loaders


def test_the_yaml_of_a_trainer_makes_both_loaders(
    split: Path, trainer_shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "train.yaml"
    config.write_text(
        f"""
experiment: {{seed: 2025}}
data:
  train_shard_pattern: "{split}"
  valid_shard_pattern: "{trainer_shards}/shard-{{000000..000002}}.tar"
  preprocessed: true
  num_workers: 2
  batch_size: 3
  prefetch_factor: 1
  shuffle_buffer_size: 100
"""
    )
    loaders = build_loaders(config)
    assert loaders.train is not None
    assert loaders.valid is not None
    assert [len(batch["key"]) for batch in loaders.valid] == [3, 3, 2]
    batch = next(iter(loaders.train))
    assert str(batch["volume"].dtype) == "torch.float32"
    assert loaders.train.order.seed == 2025
    assert loaders.train.order.shuffle
    assert not loaders.valid.order.shuffle
    said = capsys.readouterr().out
    assert said == loaders.summary + "\n"
    assert "train: 8 samples shuffled with seed 2025, 3 batches of 3; 2 threads x 1" in said
    assert "left to the trainer: data.shuffle_buffer_size" in said


def test_the_older_names_of_the_keys_are_known(trainer_shards: Path) -> None:
    data = {"webdataset_shards_train": str(trainer_shards), "dtype": "float16"}
    loaders = build_loaders({"data": data}, quiet=True)
    assert loaders.valid is None
    assert loaders.train is not None
    assert len(loaders.train) == 8


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (None, "data: expected a section"),
        ({}, "got neither"),
        ({"preprocessed": False}, "preprocessed: false asks .* make shards once with `medassets"),
        ({"batch_size": "4"}, "data.batch_size: expected int, got '4'"),
        ({"num_workers": True}, "data.num_workers: expected int, got True"),
        ({"dtype": "half"}, "data.dtype: expected one of float16, float32"),
        ({"train_shard_pattern": "a", "webdataset_shards_train": "b"}, "keep one"),
        ({"train_shard_pattern": 5}, "data.train_shard_pattern: expected a pattern, .* got 5"),
        ({"valid_shard_pattern": {"a": 1}}, "data.valid_shard_pattern: expected a pattern"),
        ({"webdataset_shards_val": ["a", 5]}, "data.webdataset_shards_val: expected a pattern"),
        ({"train_shard_pattern": ""}, "data.train_shard_pattern: names no shard, got ''; leave"),
        ({"train_shard_pattern": []}, r"data.train_shard_pattern: names no shard, got \[\]; leave"),
        ({"train_shard_pattern": {}}, r"data.train_shard_pattern: expected a pattern, .*got {}"),
        ({"train_shard_pattern": ["a", ""]}, "data.train_shard_pattern: names no shard"),
        ({"train_shard_pattern": "$MEDASSETS_TEST_EMPTY"}, "names no shard, got '.MEDASSETS_TEST_"),
        ({"num_workers": -1}, "data.num_workers: expected 0 or more, got -1"),
        ({"batch_size": 0}, "data.batch_size: expected 1 or more, got 0"),
        ({"prefetch_factor": 0}, "data.prefetch_factor: expected 1 or more, got 0"),
        ({"shard_window": 0}, "data.shard_window: expected 1 or more, got 0"),
        ({"seed": -1}, "data.seed: expected 0 or more, got -1"),
        ({"seed": None}, "data.seed: expected int, got None"),
        ({"shuffle": 0}, "data.shuffle: expected bool, got 0"),
    ],
    ids=map(str, range(22)),
)
def test_a_wrong_key_is_named(data: Any, match: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDASSETS_TEST_EMPTY", "")
    with pytest.raises(SpecError, match=match):
        build_loaders({"data": data})


@pytest.mark.parametrize("seed", ["7", -1, None, 1.5, True])
def test_a_wrong_seed_of_the_experiment_is_not_blamed_on_the_data(seed: Any) -> None:
    with pytest.raises(SpecError, match=r"^experiment\.seed: expected"):
        build_loaders({"data": {"train_shard_pattern": "a"}, "experiment": {"seed": seed}})


def test_no_prefetching_is_said_as_pytorch_wants_it(split: Path) -> None:
    data = {"train_shard_pattern": str(split), "num_workers": 0, "prefetch_factor": None}
    assert "no workers" in build_loaders({"data": data}, quiet=True).summary


def test_a_training_split_can_keep_its_order(split: Path) -> None:
    data = {"train_shard_pattern": split, "valid_shard_pattern": [split], "shuffle": False}
    loaders = build_loaders({"data": data}, quiet=True)
    assert loaders.train is not None
    assert [batch["key"] for batch in loaders.train] == [[f"sample_{n}"] for n in range(8)]
    assert not loaders.unused
    loaders = build_loaders({"data": {**data, "shuffle": True}}, quiet=True)
    assert loaders.train is not None
    assert loaders.valid is not None
    assert loaders.train.order.shuffle
    assert not loaders.valid.order.shuffle


def test_a_split_set_to_null_is_none(split: Path) -> None:
    data = {"train_shard_pattern": str(split), "valid_shard_pattern": None}
    assert build_loaders({"data": data}, quiet=True).valid is None


def test_a_missing_shard_is_named_before_training(trainer_shards: Path) -> None:
    pattern = f"{trainer_shards}/shard-{{000000..000003}}.tar"
    with pytest.raises(ShardIntegrityError, match=r"shard-000003\.tar: the shard is missing"):
        build_loaders({"data": {"train_shard_pattern": pattern}})


def test_files_that_hold_no_configuration_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for content, match in (
        (b"- 1", "expected a configuration"),
        (b"", "expected a configuration"),
        (b"a: [", "not YAML"),
        (b"\x80\x02\xff\0", "not YAML"),
        (b"a: 2024-13-45", "not YAML"),
        (b"[" * 10_000, "not YAML"),
    ):
        path.write_bytes(content)
        with pytest.raises(SpecError, match=rf"a\.yaml: {match}"):
            build_loaders(path)
    for other in (tmp_path / "none.yaml", str(tmp_path)):
        with pytest.raises(SpecError, match=rf"{other}: cannot be read \(.*expected a YAML file"):
            build_loaders(other)
    for config in (None, [{"data": {}}], 5):
        with pytest.raises(SpecError, match="config: expected a mapping or the path of a YAML"):
            build_loaders(config)  # pyright: ignore[reportArgumentType]


def test_other_ranks_are_silent(split: Path, capsys: pytest.CaptureFixture[str]) -> None:
    build_loaders({"data": {"train_shard_pattern": str(split)}}, rank=1, world_size=2)
    assert capsys.readouterr().out == ""


def test_importing_the_loaders_loads_neither_dagster_nor_numba() -> None:
    code = "import sys, medassets.loaders; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not {"dagster", "numba", "pandas", "webdataset"} & loaded

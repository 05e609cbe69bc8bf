"""Fields that every dataset has; the message of a wrong one begins with its name."""

from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import DatasetSpec


def make_spec(**changes: object) -> DatasetSpec:
    return DatasetSpec(**{"name": "ct", **changes})  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"name": "CT Rate"}, "^name: expected lower-case"),
        ({"name": "7ct"}, "^name: expected lower-case"),
        ({"folder": "data/ct"}, "^folder: expected an absolute path"),
        ({"endpoint": "127.0.0.1"}, r"^endpoint: expected an http\(s\) URL"),
        ({"splits": ()}, "^splits: expected at least one"),
        ({"splits": ("train", "train")}, "^splits: .* each once"),
        ({"splits": ("tr-ain",)}, "^splits: expected lower-case"),
        ({"samples_per_shard": 0}, "^samples_per_shard: expected a number in 1"),
        ({"samples_per_shard": "many"}, "^samples_per_shard: expected int, got 'many'"),
        ({"keep_raw": "yes"}, "^keep_raw: expected bool"),
        ({"num_workers": True}, "^num_workers: expected int"),
        ({"num_workers": -1}, "^num_workers: expected a number in 0"),
        ({"memory_budget_gb": -1.0}, "^memory_budget_gb: expected a number in 0"),
        ({"max_rejected_share": 1.5}, "^max_rejected_share"),
        ({"staging_budget_gb": -1.0}, "^staging_budget_gb: expected a number in 0"),
        ({"automation": "yes"}, "^automation: expected one of off, on, drain"),
        ({"runs": "often"}, "^runs: expected per-shard, single or 'batch: N'"),
        ({"runs": "batch: 0"}, "^runs: expected per-shard, single or 'batch: N'"),
    ],
)
def test_a_wrong_field_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        make_spec(**changes)


@pytest.mark.parametrize(
    ("runs", "expected"), [("per-shard", 1), ("single", None), ("batch: 64", 64), ("batch:8", 8)]
)
def test_runs_say_how_many_shards_one_run_may_make(runs: str, expected: int | None) -> None:
    assert make_spec(runs=runs).max_partitions_per_run == expected


def test_the_partitions_of_shards_are_named_after_the_dataset() -> None:
    assert make_spec(name="ct_rate").partitions_name == "ct_rate_shards"


@pytest.mark.parametrize("folder", ["/data/ct", "~/ct"])
@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:8080", "https://hub.example"])
def test_absolute_folders_and_urls_are_accepted(folder: str, endpoint: str) -> None:
    spec = make_spec(folder=folder, endpoint=endpoint)
    assert (spec.folder, spec.endpoint) == (folder, endpoint)

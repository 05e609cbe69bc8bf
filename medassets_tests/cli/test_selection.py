"""Which shards a build makes: splits, trials, partitions, states, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.cli.selection import BuildOptions
from medassets.resources.video_decoder import VideoDecoderResource
from medassets_tests.cli.building import digests

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
Declare = Callable[..., Path]
ALL = [f"{split}-00000{i}" for split in ("train", "valid") for i in range(2)]


def test_a_split_alone_is_built_and_what_is_left_is_told(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    ran = medassets("build", "lungs", "--split", "valid")
    assert ran.code == 0
    assert ran.out.splitlines()[1].startswith("lungs: 2 shards built (7 samples")
    assert "not asked for and still to be made: 2 shards" in ran.out
    assert not list((home / "data/lungs").glob("train/*.tar"))


def test_a_trial_holds_the_rest_and_a_later_build_goes_on(
    medassets: Medassets, lungs: Declare, home: Path
) -> None:
    first = medassets("build", "lungs", "--limit", "5", "--json").document
    assert (first["built"], first["num_samples"], first["held"]) == (ALL[:2], 5, 9)
    kept = (home / "data/lungs/train/shard-000000.tar").stat().st_mtime_ns
    assert "held for a build without --limit: 9 samples" in medassets("status", "lungs").out
    rest = medassets("build", "lungs", "--json").document
    # The short last shard of the trial is filled up; the full one is not touched.
    assert (rest["built"], rest["kept"], rest["held"]) == (ALL[1:], 1, 0)
    assert (home / "data/lungs/train/shard-000000.tar").stat().st_mtime_ns == kept


def test_a_trial_of_one_split_takes_samples_of_that_split(
    medassets: Medassets, lungs: Declare
) -> None:
    first = medassets("build", "lungs", "--split", "valid", "--limit", "2", "--json").document
    assert (first["built"], first["num_samples"], first["held"]) == (["valid-000000"], 2, 12)
    again = medassets("build", "lungs", "--split", "train", "--limit", "3", "--json").document
    assert (again["built"], again["num_samples"]) == (["train-000000"], 3)


def test_a_limit_on_a_larger_plan_builds_its_first_shards_only(
    medassets: Medassets, built: Path
) -> None:
    for path in built.rglob("*.tar"):
        path.unlink()
    document = medassets("build", "lungs", "--limit", "4", "--json").document
    assert (document["built"], document["left"]) == (ALL[:1], 3)


def test_the_shard_size_can_be_chosen_before_the_first_plan_only(
    medassets: Medassets, lungs: Declare
) -> None:
    trial = medassets("build", "lungs", "--limit", "4", "--samples-per-shard", "2", "--json")
    assert trial.document["built"] == ALL[:2]
    assert trial.document["num_samples"] == 4
    for command in ("build", "plan"):
        ran = medassets(command, "lungs", "--samples-per-shard", "3")
        assert ran.code == 2
        assert ran.err.startswith("medassets: --samples-per-shard: the plan of lungs was made ")
        assert "with 2, got 3" in ran.err
    assert medassets("build", "lungs", "--limit", "4", "--samples-per-shard", "2").code == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("valid-000001", ["valid-000001"]),
        ("valid-000001, train-000000..train-000001", [*ALL[:2], "valid-000001"]),
        ("train-000001..train-000009", ALL[1:2]),
    ],
)
def test_partitions_are_keys_and_ranges(
    medassets: Medassets, built: Path, text: str, expected: list[str]
) -> None:
    for path in built.rglob("*.tar"):
        path.unlink()
    document = medassets("build", "lungs", "--partitions", text, "--no-refresh", "--json").document
    assert document["built"] == expected


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--partitions", "train-1"], "--partitions: 'train-1': partition key: expected"),
        (["--partitions", "train-000007"], "names no shard of the plan (train-000000 to valid-"),
        (["--partitions", "train-000000..valid-000001"], "a range goes upwards inside one split"),
        (["--partitions", "train-000001..train-000000"], "a range goes upwards inside one split"),
        (["--partitions", "train-000001.."], "--partitions: 'train-000001..'"),
        (["--partitions", ""], "--partitions: expected keys or ranges"),
        (["--split", "test"], "--split: lungs has no split 'test'; it has train, valid"),
        (["--limit", "0"], "Invalid value for '--limit'"),
        (["--num-workers", "-1"], "Invalid value for '--num-workers'"),
        (["--frobnicate"], "No such option"),
    ],
)
def test_wrong_use_is_told_at_once_with_exit_code_2(
    medassets: Medassets, built: Path, arguments: list[str], words: str
) -> None:
    ran = medassets("build", "lungs", *arguments)
    assert ran.code == 2
    assert words in ran.err
    assert ran.out == ""
    as_json = medassets("build", "lungs", "--json", *arguments)
    assert as_json.code == as_json.document["exit_code"] == 2
    assert words in as_json.document["error"]


def test_missing_failed_and_force_choose_by_state(medassets: Medassets, built: Path) -> None:
    before = digests(built)
    (built / "valid/shard-000001.tar").unlink()
    assert medassets("build", "lungs", "--failed", "--json").document["built"] == ["valid-000001"]
    for path in built.glob("valid/shard-000001.*"):
        path.unlink()
    assert medassets("build", "lungs", "--missing", "--json").document["built"] == ["valid-000001"]
    one = ("--partitions", "train-000001", "--force")
    assert medassets("build", "lungs", *one, "--json").document["built"] == ["train-000001"]
    assert digests(built) == before


def test_options_of_gpus_reach_the_decoders() -> None:
    assert BuildOptions().decoder_config() == {}
    options = BuildOptions(device="cuda", gpu_ids=(0, 1), workers_per_gpu=8)
    assert options.decoder_config() == {
        "device": "cuda",
        "gpu_ids": [0, 1],
        "workers_per_gpu": 8,
    }
    decoder = VideoDecoderResource(**options.decoder_config())
    assert (decoder.gpu_ids, decoder.workers_per_gpu) == ([0, 1], 8)

"""`medassets merge-info`: what users do by hand with a few lines of Python."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Medassets = Callable[..., Any]


@pytest.fixture
def infos(tmp_path: Path) -> list[str]:
    """Two exports of 6 and 2 samples, the second listed only."""
    train = [f"sample_{k:06d}_v{k // 3}" for k in range(6)]
    for folder, splits in (("a", {"train": train}), ("b", {"test": train[:2]})):
        (tmp_path / folder).mkdir()
        document = {"train": [], "val": [], "test": [], **splits}
        (tmp_path / folder / "dataset_info.json").write_text(json.dumps(document))
    for name in train:
        (tmp_path / "a" / name).mkdir()
    return [str(tmp_path / folder / "dataset_info.json") for folder in "ab"]


def test_exports_are_merged_and_val_taken_from_train(
    medassets: Medassets, infos: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "all.json"
    ran = medassets("merge-info", *infos, "--out", str(out), "--val-count", "4", "--seed", "1")
    assert ran.code == 0
    assert ran.out.splitlines()[-1] == f"{out}: train 2, val 4, test 2"
    # No whole videos of 3 and 3 samples have 4.
    assert "from train to val: 4 samples; no whole videos have as many, so v" in ran.out
    assert "in more than one split: " in ran.err
    assert f"{tmp_path}/b/sample_000000_v0: listed, but does not exist" in ran.err
    merged = json.loads(out.read_bytes())
    assert [len(merged[split]) for split in ("train", "val", "test")] == [2, 4, 2]
    assert all(Path(name).is_absolute() for name in merged["train"] + merged["val"])
    assert all(Path(name).is_dir() for name in merged["train"] + merged["val"])
    assert medassets("merge-info", *infos, "--out", str(out), "--relative").code == 0
    assert json.loads(out.read_bytes())["train"][0] == "a/sample_000000_v0"


def test_the_result_is_one_document(medassets: Medassets, infos: list[str], tmp_path: Path) -> None:
    ran = medassets(
        "merge-info", *infos, infos[0], "--out", str(tmp_path / "x.json"), "--absolute", "--json"
    )
    document = ran.document
    assert document["listed"] == {"train": 6, "val": 0, "test": 2}
    assert (document["repeated"], len(document["absent"])) == (6, 2)
    assert document["num_leaks"] == 1
    assert document["leaks"] == {"v0": {"train": 3, "test": 2}}
    merged = json.loads((tmp_path / "x.json").read_bytes())
    assert merged["train"][0] == f"{tmp_path}/a/sample_000000_v0"


def test_every_video_of_more_than_one_split_is_counted_and_the_first_are_named(
    medassets: Medassets, tmp_path: Path
) -> None:
    infos: list[str] = []
    for folder, splits in (("random", ("train", "val", "test")), ("all_train", ("train",) * 3)):
        document: dict[str, list[str]] = {"train": [], "val": [], "test": []}
        for k in range(24):
            document[splits[k % 3]].append(f"sample_{k:06d}_v{k:02d}")
        (tmp_path / folder).mkdir()
        infos.append(str(tmp_path / folder / "dataset_info.json"))
        Path(infos[-1]).write_text(json.dumps(document))
    ran = medassets("merge-info", *infos, "--out", str(tmp_path / "x.json"))
    assert ran.code == 0
    assert "16 videos in more than one split: v01 (train 1, val 1), v02 (train 1, test 1)," in (
        ran.err.replace("\n", " ")
    )
    assert " and 11 more (--json lists all)" in ran.err.replace("\n", " ")


def test_a_place_that_takes_no_file_is_named(medassets: Medassets, infos: list[str]) -> None:
    ran = medassets("merge-info", infos[0], "--out", "/proc/x.json")
    assert ran.code == 2
    assert "--out: cannot write" in ran.err


def test_what_is_malformed_is_named(medassets: Medassets, infos: list[str], tmp_path: Path) -> None:
    Path(infos[1]).write_text('{"train": [], "val": [], "test": [3]}')
    ran = medassets("merge-info", *infos, "--out", str(tmp_path / "x.json"))
    assert ran.code == 1
    assert f"{infos[1]}: field 'test'[0]: expected a folder name, got 3" in ran.err
    assert not (tmp_path / "x.json").exists()


def test_usage_errors_have_exit_code_2(
    medassets: Medassets, infos: list[str], tmp_path: Path
) -> None:
    out = str(tmp_path / "x.json")
    assert medassets("merge-info", infos[0], "--out", out, "--val-count", "6").code == 2
    assert medassets("merge-info", infos[0]).code == 2
    assert medassets("merge-info", "--out", out).code == 2

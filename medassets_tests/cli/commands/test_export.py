"""`medassets export`: from declared datasets to the folders of other trainers."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medassets.shards.catalog.files import write_catalog
from medassets.shards.catalog.planning import plan_catalog
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import Clip, make_shard

Medassets = Callable[..., Any]
CLIPS = {
    "train-000000": [Clip("abc_0_1000"), Clip("abc_1000_2500", size=None)],
    "val-000000": [Clip("def_0_1000")],
}


@pytest.fixture
def films(tmp_path: Path, home: Path, declare: Callable[..., Path]) -> DatasetPaths:
    """A declared dataset with a catalog, and both stages of its shards."""
    file = tmp_path / "declared" / "films" / "defs.yaml"
    file.parent.mkdir()
    file.write_text(
        "type: medassets.components.VideoClipDatasetComponent\n"
        "attributes: {name: films, source: videos, videos_dir: /nowhere, metadata: /nowhere,\n"
        "  clips: copy, samples_per_shard: 2}\n"
    )
    paths = DatasetPaths(home / "data", "films", "frames")
    keys = [(clip.key, key.partition("-")[0]) for key, clips in CLIPS.items() for clip in clips]
    rows = {
        "key": [key for key, _ in keys],
        "split": [split for _, split in keys],
        "path": [f"{key}.mp4" for key, _ in keys],
        **{name: pa.nulls(len(keys), pa.string()) for name in ("revision", "excluded", "detail")},
    }
    catalog = plan_catalog(pa.table(rows), None, samples_per_shard=2)
    paths.folder.mkdir(parents=True)
    write_catalog(catalog, paths.catalog)
    for stage in ("frames", "clips"):
        for key, clips in CLIPS.items():
            make_shard(replace(paths, stage=stage), key, clips, stage=stage)
    return paths


def test_the_trainers_folder_is_made_and_kept(
    medassets: Medassets, films: DatasetPaths, home: Path
) -> None:
    out = home / "exports" / "films" / "clip4mc"
    ran = medassets("export", "films")
    assert ran.code == 0
    assert "left out: 1 sample (missing_size)" in ran.out
    assert f"films: 2 samples written (7.8 kB), 0 kept; {out}/dataset_info" in ran.out
    assert json.loads((out / "dataset_info.json").read_bytes()) == {
        "train": [f"{out}/sample_000000_abc"],
        "val": [f"{out}/sample_000001_def"],
        "test": [],
    }
    again = medassets("export", "films", "--allow-missing-size", "--json").document
    assert (again["written"], again["kept"], again["skipped"]) == (1, 2, {})
    assert again["listed"] == {"train": 2, "val": 1}
    assert again["out"] == str(out)


def test_other_forms_of_the_trainers_folder_are_options(
    medassets: Medassets, films: DatasetPaths, home: Path
) -> None:
    out = home / "exports" / "films" / "clip4mc"
    assert medassets("export", "films", "--layout", "tchw", "--relative").code == 0
    names = json.loads((out / "dataset_info.json").read_bytes())
    assert names == {"train": ["sample_000000_abc"], "val": ["sample_000001_def"], "test": []}
    ran = medassets("export", "films")
    assert ran.code == 2
    told = f"--layout: {out} holds samples as an export with --layout tchw writes them; choose: "
    assert told in " ".join(ran.err.split())
    assert medassets("export", "films", "--layout", "thwc", "--json").document["written"] == 2


def test_clips_are_a_format_of_their_own(
    medassets: Medassets, films: DatasetPaths, tmp_path: Path
) -> None:
    ran = medassets(
        "export", "films", "--format", "clips", "--out", str(tmp_path / "c"), "--split", "train"
    )
    assert ran.code == 0
    names = sorted(path.name for path in (tmp_path / "c/clips").iterdir())
    assert names == ["abc_0_1.mp4", "abc_1_2.5.mp4"]


def test_what_is_wrong_is_named_with_exit_code_1(medassets: Medassets, films: DatasetPaths) -> None:
    shard = films.shard("val-000000")
    content = bytearray(shard.read_bytes())
    content[2000] ^= 1
    shard.write_bytes(content)
    films.shard("train-000000").unlink()
    ran = medassets("export", "films")
    assert ran.code == 1
    assert f"{shard}: def_0_1000: member .npy is damaged" in ran.err
    assert "not made yet: 1 shard; `medassets build films` makes them" in ran.out
    assert "lists nothing" in ran.out
    assert medassets("export", "films", "--json").document["problems"]


def test_usage_errors_say_what_there_is(medassets: Medassets, films: DatasetPaths) -> None:
    split = medassets("export", "films", "--split", "dev")
    assert (split.code, "films has no split 'dev'" in split.err) == (2, True)
    assert medassets("export", "films", "--format", "zip").code == 2


@pytest.mark.parametrize("options", [(), ("--format", "clip4mc"), ("--layout", "thwc")])
def test_a_dataset_without_formats_is_refused_before_its_stages_are_read(
    medassets: Medassets, lungs: Callable[..., Path], options: tuple[str, ...]
) -> None:
    ran = medassets("export", "lungs", *options)
    assert ran.code == 2
    told = (
        "--format: lungs is a dataset of CT volumes; only datasets of CT windows and video clips "
        "have this option"
    )
    assert told in ran.err


def test_a_format_of_another_kind_is_refused_with_those_of_the_dataset(
    medassets: Medassets, films: DatasetPaths
) -> None:
    ran = medassets("export", "films", "--format", "npy")
    assert ran.code == 2
    assert "--format: films has no format 'npy'; it has clip4mc, clips" in ran.err


@pytest.mark.parametrize(
    "option", [("--layout", "tchw"), ("--relative",), ("--allow-missing-size",)]
)
def test_an_option_of_another_format_is_refused(
    medassets: Medassets, films: DatasetPaths, option: tuple[str, ...]
) -> None:
    ran = medassets("export", "films", "--format", "clips", *option)
    assert ran.code == 2
    told = f"{option[0]}: has no effect on the format clips; it belongs to clip4mc"
    assert told in ran.err


def test_a_folder_of_another_export_is_refused(
    medassets: Medassets, films: DatasetPaths, tmp_path: Path
) -> None:
    out = str(tmp_path / "out")
    assert medassets("export", "films", "--out", out).code == 0
    ran = medassets("export", "films", "--out", out, "--format", "clips")
    assert ran.code == 2
    assert "holds an export as clip4mc of films" in ran.err


def test_the_command_that_makes_what_is_missing_makes_clips_where_clips_are_missing(
    medassets: Medassets, films: DatasetPaths
) -> None:
    clips = replace(films, stage="clips")
    clips.shard("val-000000").unlink()
    some = medassets("export", "films", "--format", "clips")
    assert "not made yet: 1 shard; `medassets build films --mode clip` makes them" in some.out
    clips.shard("train-000000").unlink()
    none = medassets("export", "films", "--format", "clips", "--out", str(films.root / "new"))
    assert none.code == 1
    assert "stage clips exists yet; run `medassets build films --mode clip` first" in none.err
    shutil.rmtree(films.folder)
    early = medassets("export", "films", "--format", "clips")
    assert "no catalog yet; `medassets build films --mode clip` makes it" in early.err

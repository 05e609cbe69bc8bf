"""The trainer's folder, read as the trainer reads it; and what a second export does."""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medassets.exports.clip4mc import choose_frames, export_clip4mc
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import TRAIN, Clip, export, make_shard, read_tree


def load_as_the_trainer(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
    """Read a sample as the official loader does.

    Source: PKU-RL/CLIP4MC, `process/static.py`, `load_processed_data_new`, without its transpose.
    """
    video = np.array(pickle.loads((folder / "video_input.pkl").read_bytes()))
    tokens = pickle.loads((folder / "text_input.pkl").read_bytes())["tokens"]
    k = video.shape[0] // 16
    return video[::k, ::-1], tokens, json.loads((folder / "size.json").read_bytes())


def read_info(out: Path) -> dict[str, list[str]]:
    return json.loads((out / "dataset_info.json").read_bytes())


def test_red_is_red_through_the_official_slicing(paths: DatasetPaths, out: Path) -> None:
    red = np.zeros((16, 160, 256, 3), np.uint8)
    red[..., 0] = 255
    make_shard(paths, "train-000000", [Clip("abc_0_1000", red)])
    export(paths, out, ["train-000000"])
    video, tokens, sizes = load_as_the_trainer(out / "sample_000000_abc")
    assert video.shape == (16, 3, 160, 256)
    assert video.dtype == np.uint8
    assert (video[:, 0] == 255).all()
    assert not video[:, 1:].any()
    assert np.array_equal(tokens, TRAIN[0].tokens())
    assert sizes == [k / 4 for k in range(16)]


def test_red_is_red_for_a_loader_that_transposes_first(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", TRAIN[:1])
    export(paths, out, ["train-000000"], layout="thwc")
    stored = pickle.loads((out / "sample_000000_abc/video_input.pkl").read_bytes())
    video = np.array(stored).transpose(0, 3, 1, 2)[:: len(stored) // 16, ::-1, :, :]
    assert np.array_equal(video, TRAIN[0].rgb().transpose(0, 3, 1, 2))


@pytest.mark.parametrize("num_frames", [1, 5, 15, 16, 17, 31, 32, 100])
def test_the_trainer_sees_frames_spread_over_the_clip(
    paths: DatasetPaths, out: Path, num_frames: int
) -> None:
    frames = np.empty((num_frames, 4, 6, 3), np.uint8)
    frames[:] = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    clip = Clip("abc_0_1000", frames, size=list(range(num_frames)))
    make_shard(paths, "train-000000", [clip])
    export(paths, out, ["train-000000"])
    stored = pickle.loads((out / "sample_000000_abc/video_input.pkl").read_bytes())
    video, _, sizes = load_as_the_trainer(out / "sample_000000_abc")
    assert len(stored) % 16 == 0
    assert len(stored) == max(num_frames - num_frames % 16, 16)
    assert len(video) == 16
    # Frame and size of one index belong together, and the first is the clip's first.
    assert sizes == stored[:, 0, 0, 0].tolist()
    seen = video[:, 0, 0, 0].tolist()
    assert seen == sorted(seen)
    assert (seen[0], len(set(seen))) == (0, min(num_frames, 16))


def test_frames_are_chosen_by_floor_index() -> None:
    assert choose_frames(3) == [0] * 6 + [1] * 5 + [2] * 5
    assert choose_frames(16) == list(range(16))
    assert choose_frames(17) == list(range(16))
    assert choose_frames(40)[:6] == [0, 1, 2, 3, 5, 6]


def test_numbers_follow_the_partitions_and_splits_are_those_of_the_shards(
    exported: ExportResult, out: Path
) -> None:
    assert read_info(out) == {
        "train": ["sample_000000_abc", "sample_000001_abc", "sample_000002_-x_y"],
        "val": ["sample_000003_def", "sample_000004_def"],
        "test": [],
    }
    assert (exported.written, exported.kept, exported.listed) == (5, 0, {"train": 3, "val": 2})
    names = sorted(path.name for path in (out / "sample_000000_abc").iterdir())
    assert names == ["size.json", "text_input.pkl", "video_input.pkl"]
    assert sorted(path.name for path in out.iterdir() if path.name.startswith(".")) == []


def test_bytes_depend_on_nothing_but_the_shards(
    exported: ExportResult, paths: DatasetPaths, tmp_path: Path, out: Path
) -> None:
    export_clip4mc(
        paths,
        ["train-000000", "val-000000"],
        tmp_path / "other",
        options=ExportOptions(num_workers=1),
    )
    assert read_tree(tmp_path / "other") == read_tree(out)


def test_a_second_export_writes_nothing(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.pkl")}
    again = export(paths, out)
    assert (again.written, again.kept, again.listed) == (0, 5, {"train": 3, "val": 2})
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.pkl")} == before


def test_a_copied_export_is_still_whole(
    exported: ExportResult, paths: DatasetPaths, out: Path, tmp_path: Path
) -> None:
    shutil.copytree(out, tmp_path / "copy", copy_function=shutil.copyfile)
    again = export(paths, tmp_path / "copy")
    assert (again.written, again.kept) == (0, 5)


def test_new_samples_take_the_next_numbers(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    make_shard(paths, "train-000000", [Clip("aaa_0_1"), *TRAIN])
    make_shard(paths, "train-000001", [Clip("zzz_0_1")])
    again = export(paths, out, ["train-000000", "train-000001", "val-000000"])
    assert (again.written, again.kept) == (2, 5)
    assert read_info(out)["train"] == [
        *("sample_000000_abc", "sample_000001_abc", "sample_000002_-x_y"),
        *("sample_000005_aaa", "sample_000006_zzz"),
    ]


def test_a_sample_that_changed_in_its_shard_is_written_again(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    changed = Clip("abc_1000_2500", np.full((16, 4, 6, 3), 7, np.uint8))
    make_shard(paths, "train-000000", [TRAIN[0], changed, TRAIN[2]])
    again = export(paths, out)
    assert (again.written, again.kept) == (1, 4)
    assert (load_as_the_trainer(out / "sample_000001_abc")[0] == 7).all()


def lose_a_file(folder: Path) -> None:
    (folder / "size.json").unlink()


@pytest.mark.parametrize("harm", [lose_a_file, shutil.rmtree])
def test_what_was_lost_is_written_again(
    exported: ExportResult, paths: DatasetPaths, out: Path, harm: Any
) -> None:
    before = read_tree(out)
    harm(out / "sample_000001_abc")
    again = export(paths, out)
    assert (again.written, again.kept) == (1, 4)
    assert read_tree(out) == before


def test_force_writes_everything_again(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    before = read_tree(out)
    again = export(paths, out, force=True)
    assert (again.written, again.kept) == (5, 0)
    assert read_tree(out) == before


def test_another_layout_writes_every_sample_again(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    assert export(paths, out, layout="thwc").written == 5
    assert export(paths, out, layout="thwc").kept == 5


def test_a_sample_without_size_is_left_out_unless_allowed(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", [TRAIN[0], Clip("nosize_0_1", size=None)])
    first = export(paths, out, ["train-000000"])
    assert (first.skipped, first.listed) == ({"missing_size": 1}, {"train": 1})
    allowed = export(paths, out, ["train-000000"], allow_missing_size=True)
    assert (allowed.skipped, allowed.written, allowed.listed) == ({}, 1, {"train": 2})
    assert (out / "sample_000001_nosize/size.json").read_text() == "null"
    assert export(paths, out, ["train-000000"]).listed == {"train": 1}


def test_short_sizes_are_no_missing_ones(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", [Clip("a_0_1", size=[1]), Clip("b_0_1", size=[10])])
    assert export(paths, out, ["train-000000"]).listed == {"train": 2}
    assert load_as_the_trainer(out / "sample_000001_b")[2] == [10] * 16


@pytest.mark.parametrize(
    ("clip", "words"),
    [
        (Clip("a_0_1", facts={"color": "BGR"}), "expected frames as t h w c in RGB"),
        (Clip("a_0_1", np.zeros((16, 3, 4, 5), np.uint8)), r"expected uint8 frames \(t, h, w, 3\)"),
        (Clip("a_0_1", np.zeros((0, 4, 5, 3), np.uint8)), r"expected uint8 frames \(t, h, w, 3\)"),
        (Clip("a_0_1", size=["1"]), "expected a list of numbers or null"),
        (Clip("a_0_1", size=[]), "expected a list of numbers or null"),
    ],
)
def test_a_shard_of_something_else_is_named_and_the_rest_exported(
    paths: DatasetPaths, out: Path, clip: Clip, words: str
) -> None:
    make_shard(paths, "train-000000", [clip, TRAIN[0]])
    result = export(paths, out, ["train-000000"])
    assert result.listed == {"train": 1}
    (problem,) = result.problems
    with pytest.raises(AssertionError, match=f"shard-000000.tar: a_0_1: {words}"):
        raise AssertionError(problem)


def test_a_damaged_member_is_named_and_never_exported(
    exported: ExportResult, paths: DatasetPaths, tmp_path: Path
) -> None:
    shard = paths.shard("train-000000")
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)
    result = export(paths, tmp_path / "fresh")
    assert "abc_0_1000: member .npy is damaged" in result.problems[0]
    assert "build partition train-000000 again" in result.problems[0]
    assert result.listed == {"train": 2, "val": 2}
    assert not (tmp_path / "fresh" / "sample_000000_abc").exists()

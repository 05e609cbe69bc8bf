"""The trainer's folder, read as the trainer reads it; and what a second export does."""

import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from medassets.errors import UsageError
from medassets.exports.clip4mc import choose_frames, export_clip4mc
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import (
    HEIGHT,
    TRAIN,
    WIDTH,
    Clip,
    export,
    make_shard,
    read_tree,
)


def load_as_the_trainer(folder: Path) -> tuple[npt.NDArray[Any], npt.NDArray[Any], Any]:
    """Read a sample as the official loader does.

    Source: PKU-RL/CLIP4MC, `process/static.py` since August 2024, `load_processed_data_new`.
    """
    video = np.array(pickle.loads((folder / "video_input.pkl").read_bytes()))
    video = video.transpose(0, 3, 1, 2)
    tokens = pickle.loads((folder / "text_input.pkl").read_bytes())["tokens"]
    k = video.shape[0] // 16
    return video[::k, ::-1], tokens, json.loads((folder / "size.json").read_bytes())


class TrainerDataset:
    """The official map-style dataset: everything it knows is the path of `dataset_info.json`.

    Source: PKU-RL/CLIP4MC, `data/dataset.py`, `NewDataset`, without crop and normalization.
    """

    def __init__(self, info: Path, split: str) -> None:
        self.folders = json.loads(info.read_text())[split]

    def __len__(self) -> int:
        return len(self.folders)

    def __getitem__(self, index: int) -> Any:
        import torch

        video, tokens, sizes = load_as_the_trainer(Path(self.folders[index]))
        return tokens, 0, 0, torch.tensor(sizes), torch.as_tensor(video.copy())


def read_info(out: Path) -> dict[str, list[str]]:
    """Return split -> names of folders, which must be absolute and there."""
    splits = json.loads((out / "dataset_info.json").read_bytes())
    assert all(Path(one).parent == out for folders in splits.values() for one in folders)
    return {split: [Path(one).name for one in folders] for split, folders in splits.items()}


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


def test_the_trainer_loads_the_default_export_from_any_folder(
    paths: DatasetPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from torch.utils.data import DataLoader

    clips = [*TRAIN, Clip("long_0_1000", num_frames=16, size=[0.5])]
    make_shard(paths, "train-000000", clips)
    (tmp_path / "made_here").mkdir()
    monkeypatch.chdir(tmp_path / "made_here")
    export(paths, Path("out"), ["train-000000"])
    monkeypatch.chdir("/")
    dataset: Any = TrainerDataset(tmp_path / "made_here/out/dataset_info.json", "train")
    ((tokens, _, _, sizes, video),) = DataLoader(dataset, batch_size=4, drop_last=True)
    assert (tokens.shape, tokens.dtype) == ((4, 77), torch.int64)
    assert (sizes.shape, sizes.dtype) == ((4, 16), torch.float32)
    assert (video.shape, video.dtype) == ((4, 16, 3, HEIGHT, WIDTH), torch.uint8)
    expected = np.stack([clip.rgb().transpose(0, 3, 1, 2) for clip in clips])
    assert np.array_equal(video.numpy(), expected)


def test_red_is_red_for_a_loader_that_does_not_transpose(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", TRAIN[:1])
    export(paths, out, ["train-000000"], layout="tchw")
    stored = pickle.loads((out / "sample_000000_abc/video_input.pkl").read_bytes())
    video = np.array(stored)[:: len(stored) // 16, ::-1]
    assert np.array_equal(video, TRAIN[0].rgb().transpose(0, 3, 1, 2))


def test_relative_names_are_those_of_the_folders(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    again = export(paths, out, relative=True)
    assert (again.written, again.kept) == (0, 5)
    splits = json.loads((out / "dataset_info.json").read_bytes())
    assert splits["val"] == ["sample_000003_def", "sample_000004_def"]
    export(paths, out)
    assert len(read_info(out)["train"]) == 3


def test_an_export_that_was_moved_names_its_new_place(
    exported: ExportResult, paths: DatasetPaths, out: Path, tmp_path: Path
) -> None:
    out.rename(tmp_path / "moved")
    assert export(paths, tmp_path / "moved").written == 0
    assert read_info(tmp_path / "moved")["test"] == []


def test_absolute_names_lead_through_no_link(paths: DatasetPaths, out: Path) -> None:
    make_shard(paths, "train-000000", TRAIN[:1])
    out.mkdir()
    link = out.parent / "link"
    link.symlink_to(out)
    export(paths, link, ["train-000000"])
    assert read_info(out)["train"] == ["sample_000000_abc"]


def test_a_folder_whose_name_no_json_holds_is_refused_unless_names_are_relative(
    paths: DatasetPaths, tmp_path: Path
) -> None:
    make_shard(paths, "train-000000", TRAIN[:1])
    out = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(
        UsageError, match=r"--out: .*caf.*dce9' is not UTF-8: rename the folder, or"
    ):
        export(paths, out, ["train-000000"])
    assert not out.exists()
    assert export(paths, out, ["train-000000"], relative=True).written == 1


@pytest.mark.parametrize("num_frames", [1, 5, 15, 16, 17, 31, 32, 100])
def test_the_trainer_sees_frames_spread_over_the_clip(
    paths: DatasetPaths, out: Path, num_frames: int
) -> None:
    frames = np.empty((num_frames, 4, 6, 3), np.uint8)
    frames[:] = np.arange(num_frames, dtype=np.uint8)[:, None, None, None]
    clip = Clip("abc_0_1000", frames, size=list(range(num_frames)))
    make_shard(paths, "train-000000", [clip])
    export(paths, out, ["train-000000"])
    stored = np.array(pickle.loads((out / "sample_000000_abc/video_input.pkl").read_bytes()))
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
        relative=True,
    )
    export(paths, out, relative=True)
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
    assert export(paths, out, layout="tchw").written == 5
    assert export(paths, out, layout="tchw").kept == 5


def test_a_folder_of_another_layout_is_not_written_again_unasked(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    export(paths, out, layout="tchw")
    before = read_tree(out)
    with pytest.raises(UsageError, match=r"--layout: .* --layout tchw keeps them, another value"):
        export(paths, out)
    assert read_tree(out) == before
    make_shard(paths, "train-000000", [Clip("abc_0_1000", num_frames=32), *TRAIN[1:]])
    with pytest.raises(UsageError, match="--layout"):
        export(paths, out)
    assert export(paths, out, layout="tchw").written == 1
    assert export(paths, out, layout="thwc").written == 5
    assert export(paths, out).kept == 5


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

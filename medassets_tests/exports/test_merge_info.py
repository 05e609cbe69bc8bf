"""Several exports as one: what is listed is found, and nothing is in two splits."""

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import CatalogError, ForeignFileError, UsageError
from medassets.exports.clip4mc import export_clip4mc
from medassets.exports.merge_info import choose_val, merge_infos
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import Clip, make_shard


def write_info(folder: Path, *, make: bool = True, **splits: list[str]) -> Path:
    """Write an info file with folders that are there."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {split: splits.get(split, []) for split in ("train", "val", "test")}
    for name in [name for names in document.values() for name in names] if make else ():
        (folder / name).mkdir()
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(document))
    return info


def names(count: int, vid: str, first: int = 0) -> list[str]:
    return [f"sample_{first + k:06d}_{vid}" for k in range(count)]


@pytest.fixture
def two(tmp_path: Path) -> list[Path]:
    """An export for training in two videos, and one for tests."""
    train = write_info(tmp_path / "a", train=[*names(3, "one"), *names(4, "-two_x", 3)])
    return [train, write_info(tmp_path / "b/c", test=names(2, "three"), val=names(1, "four", 2))]


def test_entries_are_found_from_the_merged_file(tmp_path: Path, two: list[Path]) -> None:
    out = tmp_path / "merged" / "dataset_info.json"
    result = merge_infos(two, out, relative=True)
    assert result.listed == {"train": 7, "val": 1, "test": 2}
    assert (result.repeated, result.absent) == (0, [])
    merged = json.loads(out.read_bytes())
    assert merged["train"][0] == "../a/sample_000000_one"
    assert merged["test"] == [f"../b/c/{name}" for name in names(2, "three")]
    assert all((out.parent / folder).is_dir() for split in merged.values() for folder in split)


def test_absolute_entries_are_found_from_anywhere(
    tmp_path: Path, two: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = Path("merged.json")
    merge_infos([path.relative_to(tmp_path) for path in two], out)
    merged = json.loads(out.read_bytes())
    assert merged["train"][0] == str(tmp_path / "a/sample_000000_one")
    # What was merged can be merged again.
    merge_infos([out], Path("a/again.json"), relative=True)
    assert json.loads(Path("a/again.json").read_bytes())["train"][0] == "sample_000000_one"


def test_a_folder_whose_name_no_json_holds_is_refused_unless_names_are_relative(
    tmp_path: Path,
) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    info = write_info(folder, train=names(1, "one"))
    with pytest.raises(UsageError, match=r"INFO: .*caf.*dce9' is not UTF-8: rename the folder, or"):
        merge_infos([info], folder / "out.json")
    merge_infos([info], folder / "out.json", relative=True)
    assert json.loads((folder / "out.json").read_bytes())["train"] == names(1, "one")


def test_a_linked_folder_does_not_lead_astray(tmp_path: Path, two: list[Path]) -> None:
    (tmp_path / "deep/er").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "deep/er")
    merge_infos(two, tmp_path / "link/out.json", relative=True)
    merged = json.loads((tmp_path / "link/out.json").read_bytes())
    found = tmp_path / "link" / merged["train"][0]
    assert found.samefile(tmp_path / "a" / names(1, "one")[0])


def test_a_repeated_entry_is_listed_once_and_counted(tmp_path: Path, two: list[Path]) -> None:
    result = merge_infos([*two, two[0]], tmp_path / "out.json")
    assert (result.repeated, result.listed["train"]) == (7, 7)


def test_one_sample_in_two_splits_is_refused(tmp_path: Path, two: list[Path]) -> None:
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"train": [], "val": ["a/sample_000001_one"], "test": []}))
    with pytest.raises(CatalogError, match=r"other.json: field 'val': .* is in train already"):
        merge_infos([*two, other], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_entries_that_are_not_there_are_named(tmp_path: Path) -> None:
    info = write_info(tmp_path, make=False, train=["sample_000000_x"])
    assert merge_infos([info], tmp_path / "out.json").absent == [str(tmp_path / "sample_000000_x")]


@pytest.mark.parametrize("count", range(7))
@pytest.mark.parametrize("seed", [0, 1, 42])
def test_val_is_taken_from_train_by_count(
    tmp_path: Path, two: list[Path], count: int, seed: int
) -> None:
    result = merge_infos(two, tmp_path / "out.json", val_count=count, seed=seed)
    assert result.listed == {"train": 7 - count, "val": 1 + count, "test": 2}
    assert result.moved == count
    merged = json.loads((tmp_path / "out.json").read_bytes())
    assert not set(merged["train"]) & set(merged["val"])
    videos = {
        split: {Path(folder).name.split("_", 2)[2] for folder in merged[split]} for split in merged
    }
    both = videos["train"] & videos["val"]
    # Only where no choice of whole videos (3 and 4 clips) has that many is one parted.
    assert both == ({result.parted} if count not in (0, 3, 4) else set())


def test_the_choice_depends_on_the_seed_alone(tmp_path: Path) -> None:
    train = [f"/x/sample_{k:06d}_v{k % 30}" for k in range(120)]
    chosen = [choose_val(train, 20, seed=seed)[0] for seed in range(5)]
    assert chosen[0] == choose_val(list(reversed(train)), 20, seed=0)[0]
    assert len({frozenset(one) for one in chosen}) == 5
    # 4 clips a video: 20 are five whole ones.
    assert all(len({name.rpartition("_")[2] for name in one}) == 5 for one in chosen)


def video_of(folder: str) -> str:
    return Path(folder).name.split("_", 2)[2]


@pytest.mark.parametrize("seed", range(5))
def test_whole_videos_move_wherever_some_have_just_as_many(seed: int) -> None:
    rng = random.Random(seed)
    sizes = [rng.randrange(2, 12, 2) for _ in range(40)] + [3]
    train = [f"sample_{k:06d}_v{vid}" for vid, size in enumerate(sizes) for k in range(size)]
    for count in (1, 2, 3, 5, 17, 40, len(train) - 2, len(train) - 1):
        chosen, parted = choose_val(train, count, seed=seed)
        assert len(chosen) == count
        both = {video_of(f) for f in chosen} & {video_of(f) for f in set(train) - chosen}
        # Even sizes and one of three make up every number but one, and one less than all.
        assert both == ({parted} if count in (1, len(train) - 1) else set())


def test_what_moves_heals_a_video_that_val_has_already(tmp_path: Path) -> None:
    one = write_info(tmp_path / "a", train=[*names(2, "x"), *names(2, "y", 2), *names(2, "z", 4)])
    other = write_info(tmp_path / "b", val=names(1, "y"), test=names(1, "z"))
    for seed in range(8):
        before = merge_infos([one, other], tmp_path / "out.json", seed=seed)
        assert before.leaks == {"y": {"train": 2, "val": 1}, "z": {"train": 2, "test": 1}}
        after = merge_infos([one, other], tmp_path / "out.json", val_count=2, seed=seed)
        assert after.leaks == {"z": {"train": 2, "test": 1}}
        more = merge_infos([one, other], tmp_path / "out.json", val_count=4, seed=seed)
        assert (more.leaks, more.parted) == (after.leaks, None)


def test_val_cannot_take_all_of_train(tmp_path: Path, two: list[Path]) -> None:
    with pytest.raises(UsageError, match="--val-count: expected less than the 7 samples of train"):
        merge_infos(two, tmp_path / "out.json", val_count=7)


def test_a_malformed_file_stops_the_merge(tmp_path: Path, two: list[Path]) -> None:
    bad = tmp_path / "bad.json"
    bad.write_bytes(b"[1]")
    with pytest.raises(CatalogError, match=r"bad\.json: expected an object with train, val, test"):
        merge_infos([*two, bad], tmp_path / "out.json")
    assert not (tmp_path / "out.json").exists()


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    info = write_info(tmp_path, train=["sample_000000_ü"])
    info.write_bytes(b"\xef\xbb\xbf" + info.read_bytes())
    out: Any = tmp_path / "out.json"
    assert merge_infos([info], out).listed["train"] == 1
    assert json.loads(out.read_bytes())["train"] == [f"{tmp_path}/sample_000000_ü"]


def test_a_file_that_no_merge_wrote_is_not_replaced(tmp_path: Path, two: list[Path]) -> None:
    out = tmp_path / "dataset_info.json"
    out.write_text(json.dumps({"train": ["mine"], "val": [], "test": []}))
    before = out.read_bytes()
    with pytest.raises(
        ForeignFileError, match=r"dataset_info\.json: this was not made by medassets"
    ):
        merge_infos(two, out)
    with pytest.raises(ForeignFileError, match=r"a/dataset_info\.json: this was not made by"):
        merge_infos(two, two[0])
    assert out.read_bytes() == before


def test_a_merged_file_is_replaced_until_a_user_edits_it(tmp_path: Path, two: list[Path]) -> None:
    out = tmp_path / "dataset_info.json"
    merge_infos(two, out)
    merge_infos([out], out, val_count=1)
    merge_infos([out], out)
    out.write_text(out.read_text().replace("train", "test", 1))
    with pytest.raises(
        ForeignFileError, match=r"dataset_info\.json: this was not made by medassets"
    ):
        merge_infos(two, out)


def test_the_index_of_an_export_is_merged_in_place_and_then_kept(
    tmp_path: Path, paths: DatasetPaths
) -> None:
    clips = [Clip("abc_0_1"), Clip("def_0_1")]
    make_shard(paths, "train-000000", clips)
    index = export_clip4mc(paths, ["train-000000"], tmp_path / "export").index
    assert merge_infos([index], index, val_count=1).listed == {"train": 1, "val": 1, "test": 0}
    merged = index.read_bytes()
    with pytest.raises(ForeignFileError, match=r"or that were changed since, .*dataset_info\.json"):
        export_clip4mc(paths, ["train-000000"], tmp_path / "export")
    assert index.read_bytes() == merged

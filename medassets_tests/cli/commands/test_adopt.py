"""`medassets adopt`, and what the other commands say of shards that are stale."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.clip4mc import SyntheticVideos
from medassets.testing.ct_rate import SyntheticRepository

Medassets = Callable[..., Any]
Declare = Callable[..., Path]
FIRST = "train-000000"


def test_stale_shards_are_adopted_and_recorded(
    medassets: Medassets, built: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.datasets.volumes._CODEC_VERSION", 2)
    before = {path: path.stat().st_mtime_ns for path in built.rglob("*.tar")}
    dry = medassets("adopt", "lungs", "--dry-run")
    assert dry.out.startswith("lungs: 4 stale shards would be adopted, 0 not\n")
    ran = medassets("adopt", "lungs")
    assert ran.code == 0
    assert ran.out.startswith("lungs: 4 stale shards adopted, 0 not\n")
    assert f"  {FIRST}: 1 of 4 were made again and are the same\n" in ran.out
    document = medassets("build", "lungs", "--json").document
    assert (document["built"], document["kept"]) == ([], 4)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert medassets("status", "lungs").code == 0
    assert medassets("verify", "lungs").code == 0
    assert medassets("adopt", "lungs").out == "lungs: 0 stale shards adopted, 0 not\n"


def test_copied_files_are_found_by_the_refresh_and_adopted(
    medassets: Medassets,
    built: Path,
    declare: Declare,
    repository: SyntheticRepository,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(repository.folder, tmp_path / "copy", copy_function=shutil.copy)
    declare("lungs", source="folder", folder=str(folder))
    ran = medassets("adopt", "lungs")
    assert ran.code == 0
    assert f"  {FIRST}: the files of 4 of 4 have the digest of their samples\n" in ran.out
    assert medassets("build", "lungs", "--json").document["built"] == []


@pytest.mark.slow
def test_frames_of_clips_are_adopted_after_their_clips(
    medassets: Medassets, declare_films: Declare, films: SyntheticVideos, tmp_path: Path
) -> None:
    folder = shutil.copytree(films.videos_dir, tmp_path / "videos")
    size = {"num_frames": 4, "height": 16, "width": 16, "samples_per_shard": 8}
    declare_films(videos_dir=str(folder), clips="copy", frames_from="clips", **size)
    assert medassets("build", "films").code == 0
    for video in folder.iterdir():
        video.touch()
    ran = medassets("adopt", "films")
    assert ran.code == 0
    keys = [line.split(":")[0].strip() for line in ran.out.splitlines()[1:-1]]
    shards = ("train-000000", "train-000001")
    assert keys == [f"{stage}/{key}" for stage in ("clips", "frames") for key in shards]
    assert medassets("build", "films", "--json").document["built"] == []


def test_what_cannot_be_adopted_is_named(medassets: Medassets, built: Path, lungs: Declare) -> None:
    lungs(target_shape=[8, 8, 8])
    ran = medassets("adopt", "lungs", "--partitions", FIRST)
    assert ran.code == 1
    assert f"  {FIRST}: not adopted: its samples have another form" in ran.out
    (shard,) = medassets("adopt", "lungs", "--partitions", FIRST, "--json").document["shards"]
    assert shard["changes"] == ["preprocessing.shape was [24, 20, 12], is [8, 8, 8]"]


def test_every_face_says_why_shards_are_stale_and_what_the_manifests_list(
    medassets: Medassets, built: Path, lungs: Declare
) -> None:
    lungs(target_shape=[8, 8, 8])
    published = (built / "train/manifest.json").read_bytes()
    plan = medassets("plan", "lungs")
    assert (
        "to be made again because preprocessing.shape was [24, 20, 12], is [8, 8, 8] (" in plan.out
    )
    assert "do not fit those of the shards on disk" in plan.out
    why = "preprocessing.shape was [24, 20, 12], is [8, 8, 8]"
    ran = medassets("build", "lungs", "--partitions", FIRST)
    assert ran.code == 0
    assert "train, valid: 1 of 4 shards are made by the new settings, whose samples" in ran.err
    assert (built / "train/manifest.json").read_bytes() == published
    status = medassets("status", "lungs")
    assert status.code == 1
    assert f"stale because {why} (train-000001, valid-000000, valid-000001)\n" in status.out
    assert "manifests stay as they are: train, valid: 1 of 4 shards are made" in status.out
    document = medassets("status", "lungs", "--json").document
    assert list(document["stale_because"].values()) == [[why]] * 3
    verify = medassets("verify", "lungs", "--quick")
    assert verify.code == 1
    assert "1 of 4 shards are made by the new settings" in verify.out + verify.err
    assert medassets("build", "lungs").code == 0
    assert medassets("verify", "lungs").code == 0


def test_a_manifest_shrinks_only_when_the_user_says_so(
    medassets: Medassets, built: Path, lungs: Declare
) -> None:
    lungs(min_slices=16, max_rejected_share=1.0)
    before = (built / "train/manifest.json").read_bytes()
    ran = medassets("build", "lungs")
    assert ran.code == 1
    assert "manifest: train: the manifest lists 7 samples, " in ran.err
    assert "too_few_slices" in ran.err
    assert (built / "train/manifest.json").read_bytes() == before
    ran = medassets("build", "lungs", "--no-refresh", "--allow-shrink")
    assert ran.code == 0
    assert (built / "train/manifest.json").read_bytes() != before
    assert medassets("build", "lungs").code == 0

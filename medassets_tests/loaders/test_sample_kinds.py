"""A class refuses shards of another kind when it opens them, and names the right class."""

import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError, WrongLoaderError
from medassets.loaders import ClipDataset, CTWindowSparseSDF, VolumeDataset, VolumeStream
from medassets.loaders.sample_kinds import name_kind
from medassets.samples import SampleKind
from medassets_tests.small_shards import (
    make_shards,
    make_trainer_members,
    make_volume_members,
    pack_tar,
)

SHAPE = (5, 7, 11)
OPEN: Mapping[str, Callable[[Any], Any]] = {
    "VolumeDataset": VolumeDataset,
    "VolumeStream": VolumeStream,
    "ClipDataset": ClipDataset,
    "CTWindowSparseSDF": lambda source: CTWindowSparseSDF(str(source), min_points=0),
}
READS = {
    "VolumeDataset": "ct_volume",
    "VolumeStream": "ct_volume",
    "ClipDataset": "video_frames",
    "CTWindowSparseSDF": "ct_windows",
}
RIGHT = {
    "ct_volume": "open them with VolumeDataset",
    "ct_windows": "open them with CTWindowSparseSDF",
    "video_frames": "open them with ClipDataset",
    "video_clips": "train on the stage `frames` with ClipDataset",
}


def to_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def make_members(kind: str) -> dict[str, bytes]:
    """Return the members that a build of this kind writes; contents are as short as possible."""
    if kind == "ct_volume":
        return {suffix: bytes(memoryview(data).cast("B")) if not isinstance(data, np.ndarray) else data.tobytes()
                for suffix, data in make_volume_members(1, SHAPE)}  # fmt: skip
    if kind == "ct_windows":
        facts = {"shape": [16, 16, 16], "windows": {"lung": {}}}
        return {
            "lung.bits": bytes(512),
            "lung.rank": bytes(8),
            "json": json.dumps(facts).encode(),
        }
    if kind == "video_clips":
        return {"mp4": b"mp4", "txt": b"text", "json": b"{}"}
    return {
        "npy": to_npy(np.zeros((2, 4, 6, 3), np.uint8)),
        "txt": b"text",
        "tokens.npy": to_npy(np.zeros(77, np.int64)),
        "size.json": b"null",
        "json": b"{}",
    }


@pytest.mark.parametrize("loader", OPEN)
@pytest.mark.parametrize("kind", RIGHT)
@pytest.mark.parametrize("known_by", ["manifest", "record", "members", "foreign tar"])
def test_every_class_opens_its_own_kind_only(
    tmp_path: Path, loader: str, kind: str, known_by: str
) -> None:
    members = make_members(kind)
    if known_by == "foreign tar":
        source = tmp_path / "some.tar"
        pack_tar(source, {"sample_0": members, "sample_1": members})
    else:
        says = "" if known_by == "members" else kind
        manifest = make_shards(tmp_path, [2, 1], lambda _: [*members.items()], kind=says)
        source = manifest if known_by == "manifest" else manifest.parent
    if READS[loader] == kind:
        assert len(OPEN[loader](source)) > 0
        return
    with pytest.raises(WrongLoaderError, match=RIGHT[kind]) as caught:
        OPEN[loader](source)
    assert "shard-000000.tar: holds " in str(caught.value) or "some.tar: holds " in str(
        caught.value
    )
    assert "build" not in str(caught.value)


def test_the_manifest_tells_where_records_do_not(tmp_path: Path) -> None:
    members = make_members("video_frames")
    manifest = make_shards(tmp_path, [2], lambda _: [*members.items()], kind="video_frames")
    record = manifest.parent / "shard-000000.json"
    record.unlink()
    assert is_refused_as_frames(manifest)
    assert len(ClipDataset(manifest)) == 2


def is_refused_as_frames(source: Path) -> bool:
    with pytest.raises(WrongLoaderError, match="open them with ClipDataset"):
        VolumeDataset(source)
    return True


def test_a_shard_of_another_kind_among_several_is_named(tmp_path: Path) -> None:
    for number, kind in enumerate(("ct_volume", "video_frames")):
        members = make_members(kind)
        pack_tar(tmp_path / f"part-{number}.tar", {f"s{number}": members})
    with pytest.raises(WrongLoaderError, match=r"part-1\.tar: holds frames of video clips"):
        VolumeDataset(str(tmp_path / "part-{0..1}.tar"))


def test_a_kind_of_a_later_version_is_refused(tmp_path: Path) -> None:
    manifest = make_shards(tmp_path, [1], lambda n: make_volume_members(n, SHAPE), kind="meshes")
    with pytest.raises(WrongLoaderError, match="holds samples of kind 'meshes', not CT volumes"):
        VolumeDataset(manifest)


@pytest.mark.parametrize(
    ("suffixes", "kind"),
    [
        (["bin", "json", "labels", "txt"], SampleKind.CT_VOLUME),
        (["npy", "txt"], ""),
        (["npz", "txt"], ""),
        (["lung.bits", "json"], ""),
        (["lung.bits", "lung.rank", "json"], SampleKind.CT_WINDOWS),
        (["npy", "tokens.npy"], SampleKind.VIDEO_FRAMES),
        (["mp4", "txt"], SampleKind.VIDEO_CLIPS),
        ([], ""),
    ],
)
def test_members_tell_the_kind(suffixes: list[str], kind: str) -> None:
    assert name_kind(suffixes) == kind


@pytest.mark.parametrize(
    ("array", "opens"),
    [
        (np.zeros((2, 4, 6, 3), np.uint8), False),
        (np.zeros((4, 6, 3), np.float16), True),
    ],
)
def test_a_tar_of_other_tools_is_known_by_axes_and_dtype(
    tmp_path: Path, array: np.ndarray, opens: bool
) -> None:
    pack_tar(tmp_path / "a.tar", {"s": {"npy": to_npy(array), "txt": b"a report"}})
    if opens:
        assert len(VolumeDataset(tmp_path / "a.tar")) == 1
        return
    assert is_refused_as_frames(tmp_path / "a.tar")


def test_the_trainers_own_tars_are_volumes(tmp_path: Path) -> None:
    pack_tar(tmp_path / "a.tar", {"s": make_trainer_members(1, SHAPE)})
    assert len(VolumeDataset(tmp_path / "a.tar")) == 1
    with pytest.raises(WrongLoaderError, match="VolumeDataset"):
        ClipDataset(tmp_path / "a.tar")


def test_the_manifest_of_an_empty_split_says_so(tmp_path: Path) -> None:
    manifest = make_shards(tmp_path, [], lambda n: make_volume_members(n, SHAPE))
    for source in (manifest, manifest.parent):
        with pytest.raises(ShardIntegrityError, match=r"the split is empty: no sample .*planned"):
            VolumeDataset(source)
    document = json.loads(manifest.read_bytes())
    document["missing_partitions"] = ["train-000000", "train-000001"]
    manifest.write_text(json.dumps(document))
    with pytest.raises(ShardIntegrityError, match="2 are still to be made; `medassets build tiny`"):
        ClipDataset(manifest)

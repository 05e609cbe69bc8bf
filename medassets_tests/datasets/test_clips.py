"""Clips as samples: cut from a video, stored in a shard, and extracted from it as files."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.build import build_shard, plan_shard, today_fingerprint
from medassets.datasets.clips import ClipShard, cut_clips, open_clip_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.video import VideoClips
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import EncodedSample, StagedFile
from medassets.shards.record import ShardRecord
from medassets.specs import VideoClipDatasetSpec
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.clips.plan import ClipEncoding
from medassets.video.processes.pool import DecoderPool

VID, KEY = "aaaaaaaaaaa", "train-000000"
SPANS_S = [(0.0, 1.0), (0.5, 2.0)]


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """A folder with one video of two seconds and the records of two clips."""
    (tmp_path / "films").mkdir()
    make_video(tmp_path / "films" / f"{VID}.mp4", VideoRecipe())
    records = [
        {
            "vid": VID,
            "transcript clip": f"dig at {begin}",
            "begin position": begin,
            "end position": end,
            "size": [0.5],
        }
        for begin, end in SPANS_S
    ]
    (tmp_path / "metadata.json").write_text(json.dumps(records))
    return tmp_path


@pytest.fixture
def decoder() -> Iterator[DecoderPool]:
    """One decoder process."""
    with DecoderPool("cpu", num_workers=1) as pool:
        yield pool


@pytest.fixture
def planned_clips(films: Path, decoder: DecoderPool) -> Workspace:
    """Two clips in one shard, planned."""
    spec = VideoClipDatasetSpec(
        name="v",
        videos_dir=str(films / "films"),
        metadata=str(films / "metadata.json"),
        clips="reencode",
        split_mode="all_train",
    )
    workspace = open_workspace(VideoClips(spec, decoder))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    return workspace


def build(workspace: Workspace) -> ShardRecord:
    return build_shard(workspace, workspace.paths, plan_shard(workspace, KEY)).record


def open_built(workspace: Workspace) -> ClipShard:
    today = today_fingerprint(workspace, workspace.read_plan(), KEY)
    return open_clip_shard(workspace.paths, KEY, today)


def test_each_clip_is_a_video_with_its_text_and_facts(
    planned_clips: Workspace, decoder: DecoderPool
) -> None:
    items = planned_clips.read_partition(KEY)
    staged = planned_clips.stage(items)[items[0].key]
    assert isinstance(staged, StagedFile)
    made = cut_clips(
        items, staged, decoder=decoder, encoding=ClipEncoding(), fingerprint=lambda i: f"of {i.key}"
    )
    for item, sample, (begin_s, end_s) in zip(items, made, SPANS_S, strict=True):
        assert isinstance(sample, EncodedSample)
        members = {suffix: bytes(content) for suffix, content in sample.members}
        assert list(members) == ["mp4", "txt", "json"]
        assert members["txt"].decode() == f"dig at {begin_s}"
        told = json.loads(members["json"])
        assert (told["begin_s"], told["end_s"]) == (begin_s, end_s)
        assert told["duration_s"] == end_s - begin_s
        assert told["fingerprint"] == f"of {item.key}"
        assert told["source"]["sha256"] == hashlib.sha256(staged.path.read_bytes()).hexdigest()


def test_a_clip_that_cannot_be_cut_rejects_no_other(
    planned_clips: Workspace, decoder: DecoderPool
) -> None:
    first, second = planned_clips.read_partition(KEY)
    staged = planned_clips.stage([first])[first.key]
    assert isinstance(staged, StagedFile)
    behind = replace(first, row={**first.row, "from_ms": 90_000, "to_ms": 91_000})
    lost, made = cut_clips(
        [behind, second],
        staged,
        decoder=decoder,
        encoding=ClipEncoding(),
        fingerprint=lambda _: "",
    )
    assert isinstance(lost, SampleRejectedError)
    assert isinstance(made, EncodedSample)


def test_clips_of_a_shard_are_extracted_as_the_files_that_were_stored(
    planned_clips: Workspace,
) -> None:
    import av

    build(planned_clips)
    items = planned_clips.read_partition(KEY)
    shard = open_built(planned_clips)
    placed, staged = shard.place(items), shard.stage(items)
    for item, (begin_s, end_s) in zip(placed, SPANS_S, strict=True):
        assert item.path == f"clips/{item.key}.mp4"
        assert (item.row["from_ms"], item.row["to_ms"]) == (0, round(1000 * (end_s - begin_s)))
        file = staged[item.key]
        assert isinstance(file, StagedFile)
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        with av.open(str(file.path)) as clip:
            assert abs((clip.duration or 0) / 1e6 - (end_s - begin_s)) < 0.05
    shard.release(placed)
    assert not shard.scratch.folder.exists()


def test_a_damaged_clip_is_not_extracted(planned_clips: Workspace) -> None:
    record = build(planned_clips)
    items = planned_clips.read_partition(KEY)
    shard = open_built(planned_clips)
    (member,) = [m for m in record.samples[0].members if m.suffix == "mp4"]
    with planned_clips.paths.shard(KEY).open("r+b") as tar:
        tar.seek(member.offset)
        tar.write(b"\xff" * 8)
    with pytest.raises(SampleRejectedError, match="damaged; build clips again") as caught:
        shard.stage(items[:1])
    assert caught.value.reason is Reason.CHECKSUM_MISMATCH
    assert isinstance(shard.stage(items[1:])[items[1].key], StagedFile)
    shard.release(items)


def test_a_shard_of_clips_that_is_missing_or_outdated_is_refused(planned_clips: Workspace) -> None:
    message = rf"{KEY}: frames are made from clips, .* run `medassets build v --mode clip` first"
    with pytest.raises(CatalogError, match=message):
        open_clip_shard(planned_clips.paths, KEY, "0" * 64)
    build(planned_clips)
    with pytest.raises(CatalogError, match=message):
        open_clip_shard(planned_clips.paths, KEY, "0" * 64)

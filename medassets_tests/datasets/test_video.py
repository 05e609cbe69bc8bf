"""What a dataset of videos is known by."""

from medassets.datasets.video import VideoFrames
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.specs import VideoClipDatasetSpec


def declare(**fields: object) -> VideoFrames:
    paths = {"videos_dir": "/v", "metadata": "/m.json"}
    return VideoFrames(VideoClipDatasetSpec(name="v", **{**paths, **fields}))


def test_shards_are_known_by_the_tokens_not_by_where_their_tokenizer_lies() -> None:
    known_by = declare().fingerprint()
    assert declare(tokenizer="/a/tokenizer.json").fingerprint() == known_by
    assert declare(tokenizer="/b/tokenizer.json").fingerprint() == known_by
    assert declare(height=64).fingerprint() != known_by


def test_a_shard_counts_how_its_pixels_were_made() -> None:
    stated = "bt709, limited range, transfer bt709, progressive"
    other = "smpte170m (not stated), limited range, transfer unspecified, progressive"
    common = {"num_frames": 16, "device": "cpu", "fallback": None}
    samples = tuple(
        SampleEntry(str(number), 0, 0, (), {**common, "pixels": pixels})
        for number, pixels in enumerate([stated, other, stated])
    )
    record = ShardRecord(
        dataset="v", split="train", partition="train-000000", filename="shard-000000.tar",
        num_samples=3, size_bytes=0, sha256="", plan_fingerprint="", fingerprint="", source={},
        samples=samples, rejected=(),
    )  # fmt: skip
    described = declare().describe_shard(record)
    assert described["pixels"] == {stated: 2, other: 1}
    assert described["frames"] == 48

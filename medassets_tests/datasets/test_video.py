"""What a dataset of videos is known by."""

from medassets.datasets.video import VideoFrames
from medassets.specs import VideoClipDatasetSpec


def declare(**fields: object) -> VideoFrames:
    paths = {"videos_dir": "/v", "metadata": "/m.json"}
    return VideoFrames(VideoClipDatasetSpec(name="v", **{**paths, **fields}))


def test_shards_are_known_by_the_tokens_not_by_where_their_tokenizer_lies() -> None:
    known_by = declare().fingerprint()
    assert declare(tokenizer="/a/tokenizer.json").fingerprint() == known_by
    assert declare(tokenizer="/b/tokenizer.json").fingerprint() == known_by
    assert declare(height=64).fingerprint() != known_by

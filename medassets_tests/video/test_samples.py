"""The members of a clip's sample, read back without our code."""

import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.samples import SourceItem, StagedFile
from medassets.video.facts import PixelFacts, VideoFacts
from medassets.video.requests import DecodedClip
from medassets.video.samples import (
    MEMBER_SUFFIXES,
    encode_clip_sample,
    resample_sizes,
)
from medassets.video.tokens import open_tokenizer

FACTS = VideoFacts("h264", "yuv420p", 640, 360, 0, False, 60_000, 29.97, True)
PIXELS = PixelFacts("bt709", True, "limited", False, "unspecified", "progressive", None, "area")
STAGED = StagedFile(Path("/nowhere/a.mp4"), "file:a.mp4", None, 5, "ab" * 32)

FIELDS = [
    "key", "vid", "split", "transcript", "begin_s", "end_s", "shape", "dtype", "axes", "color",
    "timestamps_s", "times_from", "num_segment_frames", "size", "decoder", "resize", "pixels",
    "tokenizer", "source", "video", "fingerprint",
]  # fmt: skip


def make_item(**changes: object) -> SourceItem:
    row = {
        "vid": "a",
        "transcript": "dig a tunnel\u00a0… 掘る",
        "begin_ms": 1500,
        "end_ms": 4000,
        "size": [0.1, 0.2],
        "row": 7,
        **changes,
    }
    return SourceItem("a_1500_4000", "train", "a.mp4", None, row)


def make_clip(num_frames: int = 16) -> DecodedClip:
    frames = np.random.default_rng(0).integers(0, 256, (num_frames, 6, 8, 3), np.uint8)
    times = tuple(1.5 + i / 10 for i in range(num_frames))
    return DecodedClip(frames, times, 75, 1500, 4000, FACTS, PIXELS, "cpu", "no CUDA device")


def encode(item: SourceItem, clip: DecodedClip) -> dict[str, bytes]:
    sample = encode_clip_sample(
        item, STAGED, clip, tokenizer=open_tokenizer(), fingerprint="f" * 64
    )
    assert tuple(suffix for suffix, _ in sample.members) == MEMBER_SUFFIXES
    assert sample.facts["fallback"] == "no CUDA device"
    return {suffix: bytes(content) for suffix, content in sample.members}


def test_every_member_reads_back() -> None:
    clip = make_clip()
    members = encode(make_item(), clip)
    frames = np.load(io.BytesIO(members["npy"]), allow_pickle=False)
    np.testing.assert_array_equal(frames, clip.frames)
    assert members["npy"][:8] == b"\x93NUMPY\x01\x00"
    assert members["txt"].decode() == make_item().row["transcript"]
    tokens = np.load(io.BytesIO(members["tokens.npy"]), allow_pickle=False)
    assert (tokens.shape, tokens.dtype) == ((77,), np.int64)
    described = json.loads(members["json"])
    assert described["begin_s"] == 1.5
    assert described["timestamps_s"] == list(clip.timestamps_s)
    assert described["decoder"] == {
        "device": "cpu",
        "codec": "h264",
        "pixel_format": "yuv420p",
        "fallback": "no CUDA device",
    }
    assert (described["axes"], described["color"]) == ("t h w c", "RGB")


def test_the_same_clip_gives_the_same_bytes() -> None:
    assert encode(make_item(), make_clip()) == encode(make_item(), make_clip())


def test_bytes_do_not_depend_on_the_row_of_the_record() -> None:
    assert encode(make_item(), make_clip()) == encode(make_item(row=8), make_clip())


def test_times_count_in_the_video_where_a_clip_of_it_was_decoded() -> None:
    clip = replace(make_clip(), timestamps_s=tuple(i / 10 for i in range(16)), begin_ms=0)
    described = json.loads(encode(make_item(), clip)["json"])
    assert described["timestamps_s"] == [round(1.5 + i / 10, 3) for i in range(16)]
    assert described["times_from"] == "start of the video"


def test_the_bytes_of_a_sample_are_those_of_format_version_1() -> None:
    members = encode(make_item(), make_clip(2))
    described = json.loads(members.pop("json"))
    digests = {name: hashlib.sha256(content).hexdigest()[:16] for name, content in members.items()}
    assert digests == {
        "npy": "362c2e3a86d87be6",
        "txt": "59d98036797378ea",
        "tokens.npy": "f19e48337e7dce86",
        "size.json": "b1957c9ccff6e9ac",
    }
    assert list(described) == FIELDS


def test_a_clip_without_sizes_has_none() -> None:
    members = encode(make_item(size=None), make_clip())
    assert members["size.json"] == b"null"
    assert json.loads(members["json"])["size"] is None


@pytest.mark.parametrize(
    ("sizes", "num_frames", "expected"),
    [
        ([1.0, 2.0], 4, [1.0, 1.0, 2.0, 2.0]),
        ([1.0, 2.0, 3.0], 2, [1.0, 2.0]),
        ([5.0], 3, [5.0, 5.0, 5.0]),
        ([float(i) for i in range(30)], 16, [float(k * 30 // 16) for k in range(16)]),
    ],
)
def test_sizes_are_chosen_as_frames_are(
    sizes: list[float], num_frames: int, expected: list[float]
) -> None:
    assert resample_sizes(sizes, num_frames) == expected


def test_no_sizes_cannot_be_resampled() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        resample_sizes([], 16)

"""Declarations of video clips; the message of a wrong field begins with its name."""

from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import VideoClipDatasetSpec

PATHS: dict[str, Any] = {"name": "films", "videos_dir": "/films", "metadata": "/films.json"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_frames": "most"}, "num_frames: expected 1..100000 or 'all'"),
        ({"num_frames": 0}, "num_frames: expected 1..100000 or 'all'"),
        ({"num_frames": True}, "num_frames: expected 1..100000 or 'all'"),
        ({"split_mode": "some"}, "split_mode: expected one of random, all_train, all_test"),
        ({"clip_encoder": "vp9"}, "clip_encoder: expected one of libx264, h264_nvenc"),
        ({"clip_crf": 99}, "clip_crf: expected a number in 0..51"),
        ({"clips": "both"}, "clips: expected one of off, reencode, copy"),
        ({"splits": ("train",)}, "splits: a video dataset has train, val and test"),
        ({"tokenizer": "bpe.json"}, "tokenizer: expected an absolute path"),
        ({"height": 2}, "height: expected a number in 16..4096"),
    ],
)
def test_a_declaration_that_cannot_work_names_its_field(
    fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        VideoClipDatasetSpec(**{**PATHS, **fields})


def test_a_whole_build_keeps_clips_unless_they_are_off() -> None:
    assert not VideoClipDatasetSpec(**PATHS).keeps_clips
    assert VideoClipDatasetSpec(**PATHS, clips="copy").keeps_clips


@pytest.mark.parametrize("num_frames", [1, 100_000, "all"])
def test_a_sample_has_a_number_of_frames_or_all(num_frames: int | str) -> None:
    assert VideoClipDatasetSpec(**PATHS, num_frames=num_frames).num_frames == num_frames


@pytest.mark.parametrize("splits", [("test", "train", "val"), ("train", "val", "test")])
def test_the_three_splits_may_come_in_any_order(splits: Any) -> None:
    assert VideoClipDatasetSpec(**PATHS, splits=splits).splits == splits

"""Clips that were exported are a source as good as the videos they were cut from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.testing.clip4mc import SyntheticVideos
from medassets_tests.end_to_end.films import paths_of, read_frames, read_samples

pytestmark = pytest.mark.slow


@pytest.mark.timeout(1800)
def test_copied_clips_give_the_frames_of_their_videos_pixel_for_pixel(
    films: SyntheticVideos,
    tmp_path: Path,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    command: Callable[..., Any],
) -> None:
    import av

    declare_films(**paths_of(films), clips="copy")
    straight = make_home("videos", "films")
    assert build(straight).code == 0
    clips = read_samples(straight, "clips")
    # Most of them begin between key frames, so that more than the stretch has to be copied.
    hidden = [json.loads(clip["json"])["num_hidden_frames"] for clip in clips.values()]
    assert sum(number > 0 for number in hidden) > len(clips) / 2
    out = tmp_path / "out"
    exported = command(straight, "export", "films", "--format", "clips", "--out", str(out))
    assert exported.code == 0, exported.text
    pairs = json.loads((out / "text_video_pairs.json").read_text())
    for pair in pairs:
        with av.open(str(out / pair["clip_path"])) as clip:
            assert abs((clip.duration or 0) / 1e6 - pair["duration"]) < 0.0011
            assert abs(pair["end_time"] - pair["begin_time"] - pair["duration"]) < 1e-6
    declare_films(source="clips", clips_dir=str(out), pairs_json=f"{out}/text_video_pairs.json")
    around = make_home("clips", "films")
    assert build(around).code == 0
    expected, found = read_samples(straight), read_samples(around)
    assert sorted(found) == sorted(clips)
    for key, sample in found.items():
        assert (read_frames(sample) == read_frames(expected[key])).all(), key
        assert sample["txt"] == expected[key]["txt"]

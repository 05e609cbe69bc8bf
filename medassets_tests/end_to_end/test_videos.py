"""Videos as a user builds them: YAML, folder, command, Dagster, decoder processes, disk."""

import io
import itertools
import json
import math
import os
import pickle
import random
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.loaders import ClipDataset
from medassets.shards.record import ShardRecord
from medassets.storage.paths import DatasetPaths
from medassets.testing.clip4mc import SyntheticVideos
from medassets.testing.videos import VideoRecipe, make_video, read_frame_number
from medassets_tests.end_to_end.films import paths_of, read_frames, read_samples

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("MEDASSETS_TEST_MANY_KILLS", "3"))
"""The full size is 30."""
SEED = 20261121


def read_rejected(contents: Mapping[str, bytes]) -> dict[str, str]:
    """Return why samples were rejected, by key, as the records of a home say it."""
    records = (
        json.loads(data)
        for path, data in contents.items()
        if "/shard-" in path and path.endswith(".json")
    )
    return {
        r["key"]: f"{r['reason']}: {r['detail']}" for record in records for r in record["rejected"]
    }


def choose_frames(times_s: tuple[Fraction, ...], begin: Fraction, end: Fraction) -> list[int]:
    """Return which 16 frames a clip shows: those on screen within it, by the floor of k n / 16."""
    ends = [*times_s[1:], times_s[-1] + (times_s[-1] - times_s[-2])]
    shown = [i for i, (t, e) in enumerate(zip(times_s, ends, strict=True)) if t < end and e > begin]
    return [shown[math.floor(Fraction(k * len(shown), 16))] for k in range(16)]


def seconds(position: float) -> Fraction:
    """Return a position of the metadata in whole milliseconds."""
    return Fraction(round(position * 1000), 1000)


def expect_numbers(made: SyntheticVideos) -> dict[str, list[int]]:
    """Return the numbers that the frames of every good record show, by sample key."""
    expected: dict[str, list[int]] = {}
    for index, record in enumerate(made.records):
        if index in made.reasons:
            continue
        begin, end = seconds(record["begin position"]), seconds(record["end position"])
        video = made.made[record["vid"]]
        key = f"{record['vid']}_{int(begin * 1000)}_{int(end * 1000)}"
        chosen = choose_frames(video.times_s, begin, end)
        expected[key] = [video.numbers[i] for i in chosen]
    return expected


def show_numbers(samples: Mapping[str, Mapping[str, bytes]]) -> dict[str, list[int]]:
    """Return the numbers that the frames of samples show."""
    return {
        key: [read_frame_number(frame) for frame in read_frames(sample)]
        for key, sample in samples.items()
    }


@pytest.mark.timeout(1800)
def test_every_clip_shows_its_frames_its_text_and_its_sizes(
    films: SyntheticVideos,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    declare_films(**paths_of(films))
    home = make_home("films", "films")
    outcome = build(home, "--json")
    assert outcome.code == 0, outcome.text
    samples = read_samples(home)
    assert show_numbers(samples) == expect_numbers(films)
    records = {(r["vid"], r["transcript clip"]): r for r in films.records}
    for sample in samples.values():
        described = json.loads(sample["json"])
        record = records[described["vid"], described["transcript"]]
        assert (described["begin_s"], described["end_s"]) == (
            record["begin position"],
            record["end position"],
        )
        assert sample["txt"].decode() == record["transcript clip"]
        assert described["vid"] == record["vid"]
        assert described["shape"] == [16, 160, 256, 3]
        assert described["decoder"]["device"] == "cpu"
        assert json.loads(sample["size.json"]) == record["size"]
        tokens = np.load(io.BytesIO(sample["tokens.npy"]))
        assert (tokens.shape, tokens.dtype, tokens[0]) == ((77,), np.dtype("int64"), 49406)
    info = json.loads((home.folder / "data" / "films" / "dataset_info.json").read_text())
    assert sorted(itertools.chain(*info.values())) == sorted(samples)
    # Clips of one video are never in two splits.
    splits = {key.rsplit("_", 2)[0]: set[str]() for key in samples}
    for split, keys in info.items():
        for key in keys:
            splits[key.rsplit("_", 2)[0]].add(split)
    assert all(len(found) == 1 for found in splits.values())
    again = build(home, "--json")
    assert again.result()["built"] == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("how", ["reencode", "copy"])
def test_clips_alone_then_frames_of_them_show_the_same_frames(
    how: str,
    films: SyntheticVideos,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    more = {"clip_crf": 18} if how == "reencode" else {}
    declare_films(**paths_of(films), clips=how, frames_from="clips", **more)
    home = make_home("films", "films")
    early = build(home, "--mode", "process")
    assert early.code == 1
    assert "run `medassets build films --mode clip` first" in early.text
    cut = build(home, "--mode", "clip")
    assert cut.code == 0, cut.text
    assert not read_samples(home)
    clips = read_samples(home, "clips")
    expected = expect_numbers(films)
    if how == "copy":
        # MPEG-4 part 2 in mp4 is not shown right by every player.
        lost = {vid for vid, made in films.made.items() if "Episode 3" in made.path.name}
        expected = {k: v for k, v in expected.items() if k.rsplit("_", 2)[0] not in lost}
    assert sorted(clips) == sorted(expected)
    processed = build(home, "--mode", "process")
    assert processed.code == 0, processed.text
    assert show_numbers(read_samples(home)) == expected
    assert build(home, "--json").result()["built"] == []


def test_a_split_mode_and_a_seed_are_kept_from_the_first_plan_on(
    films: SyntheticVideos,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    declare_films(**paths_of(films))
    home = make_home("films", "films")
    first = build(home, "--split-mode", "all_test", "--max-samples", "4", "--json")
    assert first.code == 0, first.text
    info = json.loads((home.folder / "data" / "films" / "dataset_info.json").read_text())
    assert {split: len(keys) for split, keys in info.items()} == {"train": 0, "val": 0, "test": 4}
    other = build(home, "--split-mode", "random")
    assert other.code == 2
    assert "split_mode: the plan of films was made with 'all_test'" in other.text
    assert build(home, "--seed", "7").code == 2
    assert build(home, "--split-mode", "all_test").code == 0
    more = build(home, "--json")
    assert more.code == 0, more.text
    info = json.loads((home.folder / "data" / "films" / "dataset_info.json").read_text())
    assert {split: len(keys) for split, keys in info.items()} == {"train": 0, "val": 0, "test": 24}


def test_a_red_frame_is_red_in_shard_and_export(
    tmp_path: Path,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    command: Callable[..., Any],
) -> None:
    videos = tmp_path / "videos"
    videos.mkdir()
    make_video(videos / "red.mp4", VideoRecipe(num_frames=40, colour=(255, 0, 0)))
    record = {"vid": "red", "transcript": "red", "begin": 0, "end": 1.2, "size": [0.5, 0.25]}
    (tmp_path / "metadata.json").write_text(json.dumps(record))
    declare_films(
        videos_dir=str(videos), metadata=str(tmp_path / "metadata.json"), split_mode="all_train"
    )
    home = make_home("red", "films")
    outcome = build(home)
    assert outcome.code == 0, outcome.text
    (sample,) = read_samples(home).values()
    frames = read_frames(sample).astype(int)
    assert (frames[..., 0] > 240).all()
    assert (frames[..., 1:] < 15).all()
    loaded = ClipDataset(home.paths.folder / "frames" / "train" / "manifest.json")[0]["frames"]
    assert loaded[:, 0].min() > 240
    assert loaded[:, 1:].max() < 15
    out = tmp_path / "export"
    exported = command(home, "export", "films", "--out", str(out))
    assert exported.code == 0, exported.text
    (name,) = json.loads((out / "dataset_info.json").read_text())["train"]
    with (out / name / "video_input.pkl").open("rb") as file:
        video = pickle.load(file)
    # The trainer's own slice: frames, B G R to R G B, axes.
    shown = video[:: video.shape[0] // 16, ..., ::-1].transpose(0, 3, 1, 2).astype(int)
    assert shown.shape == (16, 3, 160, 256)
    assert (shown[:, 0] > 240).all()
    assert (shown[:, 1:] < 15).all()


SEGMENTS = {
    "av1_60fps_6min_320x180.mp4": [(0, 5), (180, 190), (350, 362)],
    "av1_testpattern.mkv": [(1.0, 4.0)],
    "h264_bframes_bikes.mp4": [(0.5, 7.25)],
    "h264_bframes_first_pts_10s.mp4": [(0, 3), (2, 4)],
    "h264_damaged.mp4": [(0, 1.0), (1.0, 1.6)],
    "h264_edit_list_preroll.mp4": [(0, 0.5)],
    "h264_no_audio_1080x720.mp4": [(0, 1)],
    "h264_rot90_3frames.mov": [(0, 0.1)],
    "h264_rotated_mirrored_1080x720.mp4": [(0, 1)],
    "h264_two_video_two_audio_nasa.mp4": [(2, 11)],
    "h264_vfr_7frames.mp4": [(0, 0.6)],
    "hevc_10fps_128.mp4": [(0, 1)],
    "hevc_main10_200.mp4": [(0, 0.9)],
    "mpeg4_mp3_960x400.avi": [(0, 4)],
    "vp8_vorbis_rabbit320.webm": [(0, 7)],
    "vp9_bbb_642x642.webm": [(0.4, 2.9)],
}


@pytest.mark.timeout(1800)
def test_each_real_video_gives_its_frames_or_a_reason(
    real_videos: Path,
    tmp_path: Path,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    assert {path.name for path in real_videos.iterdir() if path.is_file()} >= set(SEGMENTS)
    lines = [
        {"vid": Path(name).stem, "transcript": name, "begin": begin, "end": end, "size": [0.5]}
        for name, segments in SEGMENTS.items()
        for begin, end in segments
    ]
    (tmp_path / "metadata.json").write_text("\n".join(map(json.dumps, lines)))
    names = [f"https://youtu.be/{Path(n).stem[:11]},{n}" for n in SEGMENTS]
    (tmp_path / "info.csv").write_text("\n".join(names))
    declare_films(
        videos_dir=str(real_videos),
        info_csv=str(tmp_path / "info.csv"),
        metadata=str(tmp_path / "metadata.json"),
        split_mode="all_train",
        samples_per_shard=64,
    )
    home = make_home("real", "films")
    started = time.monotonic()
    outcome = build(home)
    assert outcome.code == 0, outcome.text
    assert time.monotonic() - started < 30 * len(SEGMENTS)
    paths = DatasetPaths(home.folder / "data", "films", "frames")
    record = ShardRecord.read(paths.record("train-000000"))
    damaged = [r for r in record.rejected if r.key.startswith("h264_damaged")]
    assert {r.key for r in record.rejected} == {r.key for r in damaged}
    assert {r.reason for r in damaged} <= {"decode_failed", "end_beyond_duration"}
    samples = read_samples(home)
    assert len(samples) + len(record.rejected) == len(lines)
    for key, sample in samples.items():
        described = json.loads(sample["json"])
        assert read_frames(sample).shape == (16, 160, 256, 3), key
        assert len(described["timestamps_s"]) == 16
        assert described["timestamps_s"] == sorted(described["timestamps_s"]), key


@pytest.mark.timeout(3000)
def test_builds_killed_at_random_instants_go_on_to_the_same_bytes(
    films: SyntheticVideos,
    declare_films: Callable[..., None],
    make_home: Callable[..., Any],
    fork_server: Any,
    tmp_path: Path,
) -> None:
    declare_films(**paths_of(films), clips="reencode")
    warm = fork_server.run(make_home("warm", "films"), "build", "films", warm=tmp_path / "modules")
    assert warm.code == 0, warm.text
    undisturbed = make_home("undisturbed", "films")
    outcome = fork_server.run(undisturbed, "build", "films")
    assert outcome.code == 0, outcome.text
    assert read_rejected(undisturbed.contents()) == {}
    expected, instants, kills = undisturbed.contents(), random.Random(SEED), 0
    for number in itertools.count():
        home = make_home(f"killed-{number}", "films")
        for left in range(3):
            child = fork_server.start(home, "build", "films")
            instant = instants.uniform(0, outcome.seconds * 0.8**left)
            time.sleep(max(child.start + instant - time.monotonic(), 0))
            with suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGKILL)
            kills += child.wait().code == -signal.SIGKILL
        finished = fork_server.run(home, "build", "films")
        assert finished.code == 0, finished.text
        contents = home.contents()
        assert read_rejected(contents) == {}
        assert sorted(contents) == sorted(expected)
        assert [path for path, data in contents.items() if data != expected[path]] == []
        if kills >= KILLS:
            break

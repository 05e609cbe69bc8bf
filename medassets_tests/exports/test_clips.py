"""mp4 files and their pairs, byte for byte as in the shards."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from medassets.exports.clips import export_clips, name_clip
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import MP4_BYTES, Clip, make_shard, read_tree

TRAIN = [Clip("ab_c_0_1500", size=[0.5, 1]), Clip("ab_c_12345_15000", size=None)]
TEST = [Clip("-x_100_2000"), Clip("-x_100_2000-2")]
PARTITIONS = ["train-000000", "test-000000"]


@pytest.fixture
def exported(paths: DatasetPaths, out: Path) -> ExportResult:
    make_shard(paths, "train-000000", TRAIN, stage="clips")
    make_shard(paths, "test-000000", TEST, stage="clips")
    return export_clips(paths, PARTITIONS, out)


def read_pairs(out: Path) -> list[dict[str, Any]]:
    return json.loads((out / "text_video_pairs.json").read_bytes())


def test_clips_are_the_bytes_of_the_shards(exported: ExportResult, out: Path) -> None:
    assert exported.listed == {"test": 2, "train": 2}
    files = {path.name: path.read_bytes() for path in (out / "clips").iterdir()}
    assert files == {
        "ab_c_0_1.5.mp4": random.Random("ab_c_0_1500").randbytes(MP4_BYTES),
        "ab_c_12.345_15.mp4": random.Random("ab_c_12345_15000").randbytes(MP4_BYTES),
        "-x_0.1_2.mp4": random.Random("-x_100_2000").randbytes(MP4_BYTES),
        "-x_0.1_2-2.mp4": random.Random("-x_100_2000-2").randbytes(MP4_BYTES),
    }


def test_pairs_tell_text_and_times_of_every_clip(exported: ExportResult, out: Path) -> None:
    pairs = read_pairs(out)
    assert [pair["vid"] for pair in pairs] == ["-x", "-x", "ab_c", "ab_c"]
    assert pairs[3] == {
        "vid": "ab_c",
        "clip_path": "clips/ab_c_12.345_15.mp4",
        "transcript": "text of ab_c_12345_15000 for ½ a second",
        "begin_time": 12.345,
        "end_time": 15.0,
        "duration": 1.5,
        "size": None,
    }
    assert pairs[2]["size"] == [0.5, 1]
    assert all((out / pair["clip_path"]).is_file() for pair in pairs)


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("abc_0_30000", "abc_0_30.mp4"),
        ("a_b_5_1050", "a_b_0.005_1.05.mp4"),
        ("abc_100_200-13", "abc_0.1_0.2-13.mp4"),
        ("abc", "abc.mp4"),
    ],
)
def test_names_are_in_seconds(key: str, name: str) -> None:
    assert name_clip(key) == name


def test_a_second_export_adds_what_is_missing_only(
    exported: ExportResult, paths: DatasetPaths, out: Path
) -> None:
    before = read_tree(out)
    (out / "clips/ab_c_0_1.5.mp4").unlink()
    (out / "clips/.-x_0.1_2.mp4.new.tmp").write_bytes(b"left by a kill")
    again = export_clips(paths, PARTITIONS, out)
    assert (again.written, again.kept) == (1, 3)
    assert read_tree(out) == before
    # Pairs of splits that are not looked at stay.
    one = export_clips(paths, PARTITIONS, out, options=ExportOptions(splits=("test",)))
    assert one.kept == 2
    assert read_tree(out) == before


def test_a_damaged_clip_is_named_and_not_published(
    paths: DatasetPaths, out: Path, exported: ExportResult, tmp_path: Path
) -> None:
    shard = DatasetPaths(paths.root, "tiny", "clips").shard("train-000000")
    content = bytearray(shard.read_bytes())
    content[1_200_000] ^= 1
    shard.write_bytes(content)
    result = export_clips(paths, PARTITIONS, tmp_path / "fresh")
    assert "ab_c_0_1500: member .mp4 is damaged" in result.problems[0]
    assert result.listed == {"test": 2, "train": 1}
    assert len(list((tmp_path / "fresh/clips").iterdir())) == 3


def test_a_sample_without_the_fields_of_a_pair_is_named(paths: DatasetPaths, out: Path) -> None:
    clips = [Clip("a_0_1", without=("duration_s",)), *TRAIN]
    make_shard(paths, "train-000000", clips, stage="clips")
    result = export_clips(paths, PARTITIONS, out)
    assert "a_0_1: expected the fields vid, begin_s, end_s, duration_s, size" in result.problems[0]
    assert (result.listed, result.absent) == ({"train": 2}, ["test-000000"])

"""From a folder to shards with two commands: `init` and `build`; each way under a minute."""

import json
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medassets.testing.clip4mc import SyntheticVideos
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests import shared_data
from medassets_tests.cli.pairs import make_raw, write_tars
from medassets_tests.dicoms import PERSON, write_series
from medassets_tests.trees import SMALL, make_tree

Medassets = Callable[..., Any]

# Demo sizes: what a sample of the preset takes is measured elsewhere.
SETTINGS = [f"--set={name}={value}" for name, value in SMALL.items()]

pytestmark = pytest.mark.slow


@contextmanager
def under_a_minute() -> Iterator[None]:
    """Fail if the block takes a minute of this process: other processes of the machine do not count."""
    start = time.process_time()
    yield
    assert time.process_time() - start < 60


def run_both(medassets: Medassets, path: object, *options: str, name: str) -> dict[str, Any]:
    """Declare, build and verify; return the document of the build."""
    with under_a_minute():
        declared = medassets("init", str(path), "--name", name)
        assert declared.code == 0, declared.err
        built = medassets("build", name, *options, "--json")
        assert built.code == 0, built.err
        assert built.document["failed"] == {}
        verified = medassets("verify", name, "--json")
        assert (verified.code, verified.document["damaged"]) == (0, [])
    return built.document


def read_members(home: Path, name: str) -> dict[str, bytes]:
    """Return the members of all shards of a dataset, by tarfile alone."""
    found: dict[str, bytes] = {}
    for shard in sorted((home / "data" / name).rglob("shard-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                file = tar.extractfile(member)
                assert file is not None
                found[member.name] = file.read()
    return found


def test_five_files_without_any_table(medassets: Medassets, tmp_path: Path, home: Path) -> None:
    make_tree(tmp_path / "five", [f"case_{n}.nii.gz" for n in range(5)])
    assert run_both(medassets, tmp_path / "five", *SETTINGS, name="five")["num_samples"] == 5
    members = read_members(home, "five")
    assert {name.partition(".")[0] for name in members} == {f"case_{n}" for n in range(5)}
    assert members["case_3.txt"] == b""


def test_the_same_with_one_table(medassets: Medassets, tmp_path: Path, home: Path) -> None:
    folder = make_tree(tmp_path / "study", [f"p{n // 2}/scan_{n}.nii.gz" for n in range(5)])
    frame = pd.DataFrame(
        {
            "image": [f"scan_{n}" for n in range(5)],
            "patient": [f"{n // 2:03d}" for n in range(5)],
            "Findings": [f"Nodule {n} is seen." for n in range(5)],
            "nodule": [0, 1, 0, 1, 1],
        }
    )
    frame.to_csv(folder / "meta.csv", index=False)
    assert run_both(medassets, folder, *SETTINGS, name="study")["num_samples"] == 5
    members = read_members(home, "study")
    for row in frame.to_dict("records"):
        key = f"p{int(row['patient'])}_{row['image']}"
        assert members[f"{key}.txt"].decode() == row["Findings"]
        assert np.frombuffer(members[f"{key}.cls"], "<f4").tolist() == [row["nodule"]]
        assert json.loads(members[f"{key}.json"])["patient"] == row["patient"]


def test_dicom_series_in_any_order(medassets: Medassets, tmp_path: Path, home: Path) -> None:
    for number in range(2):
        write_series(tmp_path / "pacs" / f"x{number}", number=number)
    built = run_both(medassets, tmp_path / "pacs", *SETTINGS, name="pacs")
    assert built["num_samples"] == 2
    for path in home.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(value.encode() in content for value in PERSON.values()), path


def test_the_public_series_of_dicom(medassets: Medassets) -> None:
    folder = shared_data.CT / "ts_dicom_jpeg2000"
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    built = run_both(medassets, folder, *SETTINGS, name="public")
    assert built["num_samples"] == 1


def test_an_npz_tree_keeps_its_values(medassets: Medassets, tmp_path: Path, home: Path) -> None:
    tree = make_npz_tree(tmp_path / "npz_source")
    assert run_both(medassets, tree.folder, name="npz")["num_samples"] == len(tree.paths)
    members = read_members(home, "npz")
    for study in tree.paths:
        expected = tree.read(study).astype("<f2").tobytes()
        assert members[f"{study}.bin"] == expected


def test_raw_tars_are_preprocessed_as_verify_makes_them_again(
    medassets: Medassets, tmp_path: Path, home: Path
) -> None:
    raw = tmp_path / "raw" / "train"
    write_tars(raw, [make_raw(number) for number in range(4)])
    settings = ["--set=target_spacing_mm=[4.0,4.0,8.0]", "--set=target_shape=[6,7,5]"]
    pattern = str(raw / "raw-{000000..000001}.tar")
    assert run_both(medassets, pattern, *settings, name="raw")["num_samples"] == 4
    made = str(home / "data" / "raw" / "train" / "shard-*.tar")
    options = ["--original_pattern", pattern, "--preprocessed_pattern", made, "--num_samples", "4"]
    assert medassets("verify", *options, "--json").document["ok"]


def test_a_clip4mc_folder_with_the_options_of_its_pipeline(
    medassets: Medassets, films: SyntheticVideos, home: Path
) -> None:
    options = ["--num_frames", "4", "--frame_height", "32", "--frame_width", "48"]
    options += ["--split_mode", "all_train", "--seed", "42"]
    built = run_both(medassets, films.folder, *options, name="films")
    assert built["num_samples"] == 12
    members = read_members(home, "films")
    header = [name for name in members if name.endswith(".npy") and ".tokens." not in name]
    assert len(header) == 12
    assert b"(4, 32, 48, 3)" in members[header[0]][:128]
    assert json.loads(next(c for n, c in members.items() if n.endswith(".json")))


def test_plain_clips_without_any_record(
    medassets: Medassets, films: SyntheticVideos, home: Path
) -> None:
    declared = medassets("init", str(films.videos_dir), "--name", "plain", "--yes")
    assert declared.code == 0, declared.err
    options = ["--frame-height=32", "--frame-width=48", "--set=split_mode=all_train", "--json"]
    built = medassets("build", "plain", *options)
    assert built.code == 0, built.err
    assert built.document["num_samples"] == len(films.made)
    assert medassets("verify", "plain", "--json").document["damaged"] == []
    members = read_members(home, "plain")
    facts = [json.loads(c) for n, c in members.items() if n.endswith(".json") and "size" not in n]
    assert {fact["transcript"] for fact in facts} == {""}
    assert all(fact["end_s"] > 1 for fact in facts)


def test_plain_clips_with_their_texts(
    medassets: Medassets, films: SyntheticVideos, tmp_path: Path, home: Path
) -> None:
    clips = tmp_path / "cut" / "clips"
    clips.mkdir(parents=True)
    records = []
    for vid, video in films.made.items():
        name = f"{vid}_0_1{video.path.suffix}"
        (clips / name).write_bytes(video.path.read_bytes())
        records.append(
            {"vid": vid, "clip_path": f"clips/{name}", "transcript": f"film {vid}", "begin_time": 0, "end_time": 1}
        )  # fmt: skip
    (tmp_path / "cut" / "text_video_pairs.json").write_text(json.dumps(records))
    built = run_both(
        medassets, tmp_path / "cut", "--frame-height=32", "--frame-width=48", name="cut"
    )
    assert built["num_samples"] == len(records)
    texts = {
        content.decode()
        for name, content in read_members(home, "cut").items()
        if name.endswith(".txt")
    }
    assert texts == {record["transcript"] for record in records}

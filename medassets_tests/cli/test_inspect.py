"""`medassets inspect`: our shards, those of others, and what is none."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Medassets = Callable[..., Any]


def write_tar(path: Path, **members: bytes) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def test_our_shard_shows_arrays_labels_texts_and_spacing(medassets: Medassets, built: Path) -> None:
    shard = str(built / "train/shard-000000.tar")
    ran = medassets("inspect", shard, "--num-samples", "1")
    assert ran.code == 0
    assert ran.out.splitlines()[0] == "train_1_a_1"
    assert "24 x 20 x 12 float16, " in ran.out
    assert " characters" in ran.out
    assert "  spacing 4.037 x " in ran.out
    document = medassets("inspect", shard, "--json").document
    assert [sample["key"] for sample in document["samples"]] == ["train_1_a_1", "train_1_a_2"]
    members = document["samples"][0]["members"]
    assert list(members) == ["bin", "txt", "cls", "json"]
    assert members["bin"]["shape"] == [24, 20, 12]
    assert len(members["cls"]["values"]) == 18


def encode_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_a_clip_shows_frames_tokens_sizes_and_its_stretch(
    medassets: Medassets, tmp_path: Path
) -> None:
    described = {"begin_s": 1.5, "end_s": 4.0, "vid": "a"}
    members = {
        "a_1500_4000__npy": encode_npy(np.zeros((16, 6, 8, 3), np.uint8)),
        "a_1500_4000__txt": b"dig a tunnel",
        "a_1500_4000__tokens__npy": encode_npy(np.arange(77)),
        "a_1500_4000__size__json": json.dumps([k / 64 for k in range(64)]).encode(),
        "a_1500_4000__json": json.dumps(described).encode(),
        "b__size__json": b"null",
        "b__json": b'{"begin_s": NaN, "end_s": "x"}',
    }
    shard = write_tar(tmp_path / "clips.tar", **members)
    ran = medassets("inspect", str(shard))
    assert ran.code == 0
    assert "16 x 6 x 8 x 3 uint8, 0 to 0" in ran.out
    assert "77 int64, 0 to 76" in ran.out
    assert "64 items: [0.0, 0.015625" in ran.out
    assert "null" in ran.out
    assert ran.out.count("of its video") == 1
    assert "  from 1.5 s to 4 s of its video" in ran.out


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_a_shard_written_by_webdataset(medassets: Medassets, tmp_path: Path, suffix: str) -> None:
    from webdataset.writer import TarWriter

    shard = tmp_path / f"foreign.{suffix}"
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    array[0, 0] = np.nan
    with TarWriter(str(shard)) as writer:
        writer.write(
            {
                "__key__": "some/folder.x/a0001",
                "npy": array,
                "cls": 7,
                "json": {"b": 1, "a": [2]},
                "txt": "zwei Wörter",
                "left.jpg": b"\xff\xd8",
                "seg.npy": np.zeros(4, np.uint8),
            }
        )
    ran = medassets("inspect", str(shard), "--json")
    assert ran.code == 0
    (sample,) = ran.document["samples"]
    assert sample["key"] == "some/folder.x/a0001"
    members = sample["members"]
    assert members["npy"]["shape"] == [2, 3]
    assert (members["npy"]["not_finite"], members["npy"]["min"]) == (1, 1.0)
    assert members["cls"]["values"] == [7]
    assert members["json"]["fields"] == ["a", "b"]
    assert members["txt"] == {"bytes": 12, "start": "zwei Wörter", "characters": 11}
    assert members["left.jpg"] == {"bytes": 2}
    assert members["seg.npy"]["dtype"] == "uint8"
    assert "2 x 3 float32, 1 to 5, 1 not finite" in medassets("inspect", str(shard)).out


def test_members_that_lie_about_themselves_are_problems_not_crashes(
    medassets: Medassets, tmp_path: Path
) -> None:
    pickled = io.BytesIO()
    np.save(pickled, np.array([{}], dtype=object), allow_pickle=True)
    facts = json.dumps({"shape": "abc", "dtype": "object", "geometry": [1]}).encode()
    shard = write_tar(
        tmp_path / "liar.tar",
        a__npy=pickled.getvalue(),
        a__bin=b"1234",
        a__cls=b"12345",
        a__txt=b"\xff\xfe",
        a__json=facts,
    )
    ran = medassets("inspect", str(shard), "--json")
    assert ran.code == 0
    members = ran.document["samples"][0]["members"]
    for suffix in ("npy", "bin", "txt"):
        assert members[suffix]["problem"].startswith("not readable as")
    assert members["cls"]["values"] == [12345]
    assert medassets("inspect", str(shard)).code == 0


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage" * 300, gzip.compress(b"garbage" * 300), bytes(10240)],
    ids=["empty", "garbage", "gzip", "zeros"],
)
def test_what_is_no_shard_is_a_clear_error(
    medassets: Medassets, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "garbage.tar"
    file.write_bytes(content)
    ran = medassets("inspect", str(file))
    assert ran.code == 1
    assert ran.err.startswith(f"medassets: {file}: ")
    assert "Traceback" not in ran.err
    assert len(ran.err.splitlines()) == 1


def test_a_truncated_shard_is_a_clear_error(
    medassets: Medassets, tmp_path: Path, built: Path
) -> None:
    whole = (built / "train/shard-000000.tar").read_bytes()
    file = tmp_path / "cut.tar"
    file.write_bytes(whole[:5000])
    ran = medassets("inspect", str(file))
    assert ran.code == 1
    assert "not a whole tar file" in ran.err


def test_a_file_that_is_not_there_is_wrong_use(medassets: Medassets, tmp_path: Path) -> None:
    ran = medassets("inspect", str(tmp_path / "none.tar"))
    assert ran.code == 2
    assert "does not exist" in ran.err

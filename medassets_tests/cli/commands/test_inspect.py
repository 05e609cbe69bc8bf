"""`medassets inspect`: our shards, those of others, and what is none."""

import gzip
import io
import json
import os
import tarfile
import zipfile
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


VOXELS = np.arange(5 * 7 * 11, dtype="<f2").reshape(5, 7, 11)
STATED = {"study_id": "a", "XYSpacing": "[0.75, 0.5]", "ZSpacing": 1.5}


def encode_npz(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def encode_json(**changes: Any) -> bytes:
    return json.dumps({**STATED, **changes}).encode()


def test_a_raw_shard_of_others_shows_what_a_declaration_needs(
    medassets: Medassets, tmp_path: Path
) -> None:
    from webdataset.writer import TarWriter

    shard = tmp_path / "raw.tar"
    with TarWriter(str(shard)) as writer:
        for key in ("0001", "0002"):
            facts = {**STATED, "volume_shape": [5, 7, 11], "volume_dtype": "float16"}
            facts["labels"] = {"A": 0, "B": 1, "C": 2}
            labels = np.arange(3, dtype="<f4").tobytes()
            sample = {"bin": VOXELS.tobytes(), "labels": labels, "txt": "kein Befund"}
            writer.write({"__key__": key, "json": facts, **sample})
    ran = medassets("inspect", str(shard))
    lines = ran.out.splitlines()
    assert "5 x 7 x 11 float16, 0 to 384" in ran.out
    assert "0 1 2 (float32)" in ran.out
    assert lines.count("  spacing 0.75 x 0.5 x 1.5 mm") == 2
    yaml = "fields: {volume: bin, labels: labels, text: txt, json: json}"
    assert lines[-1] == f"  of a declaration: {yaml}"
    document = medassets("inspect", str(shard), "--json").document
    assert document["samples"][0]["spacing_mm"] == [0.75, 0.5, 1.5]
    assert document["proposed_fields"] == {
        "volume": "bin",
        "labels": "labels",
        "text": "txt",
        "json": "json",
    }
    assert document["fields_problem"] is None


def test_what_is_proposed_can_be_declared(
    medassets: Medassets, tmp_path: Path, built: Path
) -> None:
    import yaml

    from medassets.specs import VolumeDatasetSpec

    ran = medassets("inspect", str(built / "train/shard-000000.tar"))
    line = ran.out.splitlines()[-1].removeprefix("  of a declaration: ")
    fields = yaml.safe_load(line)["fields"]
    assert fields == {"volume": "bin", "labels": "cls", "text": "txt", "json": "json"}
    VolumeDatasetSpec(
        name="x", source="webdataset", shards="/{split}/{0..1}.tar", hu_rule="none", fields=fields
    )


def test_arrays_of_npz_members_are_listed(medassets: Medassets, tmp_path: Path) -> None:
    content = encode_npz(data=VOXELS, mask=np.zeros(3, bool))
    shard = write_tar(tmp_path / "a.tar", a__npz=content, a__json=encode_json(XYSpacing=None))
    ran = medassets("inspect", str(shard))
    assert "data: 5 x 7 x 11 float16, 0 to 384; mask: 3 bool, 0 to 0" in ran.out
    assert "  spacing" not in ran.out
    assert ran.out.splitlines()[-2:] == [
        "  of a declaration: fields: {volume: npz, json: json}",
        "  no labels (cls or labels); no text (txt)",
    ]
    members = medassets("inspect", str(shard), "--json").document["samples"][0]["members"]
    assert members["npz"]["arrays"]["data"]["shape"] == [5, 7, 11]


def test_hostile_npz_members_are_problems_not_crashes(medassets: Medassets, tmp_path: Path) -> None:
    pickled = encode_npz(data=np.array([{}], dtype=object))
    nested = encode_npz(data=VOXELS)
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("data.npy", nested)
        archive.writestr("huge.npy", make_npy_header((1 << 40, 1 << 20)))
        archive.writestr("empty.npy", b"")
        archive.writestr("\x1b[31m.npy", encode_npy(np.zeros(2)))
    damaged = bytearray(nested)
    damaged[60:80] = bytes(20)
    shard = write_tar(
        tmp_path / "a.tar",
        a__npz=pickled,
        b__npz=zipped.getvalue(),
        c__npz=bytes(damaged),
        d__npz=b"PK garbage",
        e__npy=nested,
    )
    ran = medassets("inspect", str(shard), "--json", "--num-samples", "9")
    assert ran.code == 0
    samples = [sample["members"] for sample in ran.document["samples"]]
    assert "problem" in samples[0]["npz"]["arrays"]["data"]
    arrays = samples[1]["npz"]["arrays"]
    assert [name for name in arrays if "problem" in arrays[name]] == ["data", "huge", "empty"]
    assert "problem" in str(samples[2]["npz"])
    assert samples[3]["npz"]["problem"].startswith("not readable as .npz")
    assert samples[4]["npy"]["problem"].startswith("not readable as .npy")
    shown = medassets("inspect", str(shard), "--num-samples", "9")
    assert shown.code == 0
    assert "\x1b" not in shown.out


def make_npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    described = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (np.array([0, 1, 1], "<f4").tobytes(), [0, 1, 1]),
        (b"0 1\n", [0, 1]),
        (b"[0, 1.5, true]", [0, 1.5, 1]),
        (b" 7", [7]),
    ],
)
def test_labels_are_read_as_bytes_digits_or_a_list(
    medassets: Medassets, tmp_path: Path, content: bytes, expected: list[float]
) -> None:
    shard = write_tar(tmp_path / "a.tar", a__labels=content)
    (sample,) = medassets("inspect", str(shard), "--json").document["samples"]
    assert sample["members"]["labels"]["values"] == pytest.approx(expected)


@pytest.mark.parametrize("content", [b"[1, ", np.array([0, 1], "<i4").tobytes()])
def test_labels_that_can_be_read_in_several_ways_are_no_values(
    medassets: Medassets, tmp_path: Path, content: bytes
) -> None:
    shard = write_tar(tmp_path / "a.tar", a__labels=content)
    (sample,) = medassets("inspect", str(shard), "--json").document["samples"]
    assert "not readable as .labels" in sample["members"]["labels"]["problem"]


@pytest.mark.parametrize(
    ("members", "lines"),
    [
        (
            {"a__bin": VOXELS.tobytes(), "a__json": encode_json()},
            [
                "  of a declaration: fields: {json: json}",
                "  no volume (npy, npz, or bin with shape and dtype in the json); no labels (cls or "
                "labels); no text (txt)",
            ],
        ),
        (
            {"a__npy": encode_npy(VOXELS), "a__seg__npy": encode_npy(VOXELS)},
            [
                "  fields: .npy and .seg.npy could both be the volume of a sample; declare which one "
                "is, such as `fields: {volume: npy}`",
            ],
        ),
        (
            {"a__npy": encode_npy(VOXELS), "b__npz": encode_npz(data=VOXELS)},
            ["  the samples do not have the same members; inspect more of them"],
        ),
        (
            {"a__x y__npy": encode_npy(VOXELS), "a__txt": b"", "a__cls": b"1", "a__json": b"{}"},
            ['  of a declaration: fields: {volume: "x y.npy", labels: cls, text: txt, json: json}'],
        ),
    ],
)
def test_what_a_declaration_lacks_is_said(
    medassets: Medassets, tmp_path: Path, members: dict[str, bytes], lines: list[str]
) -> None:
    shard = write_tar(tmp_path / "a.tar", **members)
    ran = medassets("inspect", str(shard))
    assert ran.out.splitlines()[-len(lines) :] == lines


def test_clips_and_masks_are_no_volumes_to_declare(medassets: Medassets, tmp_path: Path) -> None:
    clip = write_tar(
        tmp_path / "clip.tar", a__npy=encode_npy(VOXELS), a__json=b'{"begin_s": 1, "end_s": 2}'
    )
    mask = write_tar(tmp_path / "mask.tar", a__lung__bits=b"1", a__lung__rank=b"1234")
    for shard in (clip, mask):
        ran = medassets("inspect", str(shard), "--json")
        assert ran.document["proposed_fields"] is None
        assert ran.document["fields_problem"] is None
        assert "declaration" not in medassets("inspect", str(shard)).out


def test_a_pipe_is_refused_and_not_waited_for(medassets: Medassets, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.tar")
    ran = medassets("inspect", str(tmp_path / "pipe.tar"))
    assert ran.code in (1, 2)
    assert "pipe.tar: not a regular file" in ran.err


def test_labels_of_several_lengths_are_named(medassets: Medassets, tmp_path: Path) -> None:
    members = {f"{k}__cls": np.ones(n, "<f4").tobytes() for k, n in (("a", 2), ("b", 18))}
    shard = write_tar(tmp_path / "a.tar", **members)
    assert ".cls has 2, 18 labels in different samples" in medassets("inspect", str(shard)).err


def test_a_folder_and_a_manifest_show_their_first_shard(medassets: Medassets, built: Path) -> None:
    shard = built / "train" / "shard-000000.tar"
    for place in (built / "train", built / "train" / "manifest.json"):
        ran = medassets("inspect", str(place))
        assert ran.code == 0
        assert f"2 shards, 7 samples; the first: {shard}" in ran.out
        assert medassets("inspect", str(place), "--json").document["shard"] == str(shard)


def test_a_picture_shows_the_first_sample(
    medassets: Medassets, built: Path, tmp_path: Path
) -> None:
    from PIL import Image

    picture = tmp_path / "first.jpg"
    assert medassets("inspect", str(built / "train"), "--picture", str(picture)).code == 0
    with Image.open(picture) as image:
        assert image.format == "JPEG"
    ran = medassets("inspect", str(built / "train"), "--picture", str(picture))
    assert ran.code != 0
    assert "first.jpg" in ran.err
    tar = write_tar(tmp_path / "x.tar", a__jpg=b"x", a__txt=b"y")
    ran = medassets("inspect", str(tar), "--picture", str(tmp_path / "b.jpg"))
    assert ran.code == 2
    assert "medassets did not make" in ran.err

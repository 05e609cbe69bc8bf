"""Clips as a training script sees them: from real shards, by PyTorch's own loader."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from medassets.errors import ShardIntegrityError
from medassets.loaders import ClipDataset
from medassets_tests.loaders.contract import DatasetContract
from medassets_tests.small_shards import Members, make_shards, pack_tar

NUM_SAMPLES = (3, 2)


def make_frames(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (16, 6, 8, 3), np.uint8)


def encode_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=(1, 0))
    return file.getvalue()


def make_clip_members(number: int) -> Members:
    size = [number / 10] * 16 if number else None
    return (
        ("npy", encode_npy(make_frames(number))),
        ("txt", f"text {number}".encode()),
        ("tokens.npy", encode_npy(np.arange(77) + number)),
        ("size.json", json.dumps(size).encode()),
    )


class TestClipDataset(DatasetContract):
    def write(self, folder: Path) -> Path:
        return make_shards(folder, NUM_SAMPLES, make_clip_members, dataset="films", stage="frames")

    def open(self, source: Any, **arguments: Any) -> ClipDataset:
        return ClipDataset(source, **arguments)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A split of two shards of the real writer."""
    return make_shards(tmp_path, NUM_SAMPLES, make_clip_members, dataset="films", stage="frames")


@pytest.mark.parametrize("layout", ["tchw", "thwc"])
def test_every_clip_comes_back_whatever_the_order(manifest: Path, layout: str) -> None:
    clips = ClipDataset(manifest, layout=layout)  # pyright: ignore[reportArgumentType]
    assert len(clips) == sum(NUM_SAMPLES)
    for number in (4, 0, 2, 3, 1, -1):
        clip, actual = clips[number], number % len(clips)
        frames = clip["frames"].numpy()
        if layout == "tchw":
            assert frames.shape == (16, 3, 6, 8)
            frames = frames.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(frames, make_frames(actual))
        assert clip["tokens"].tolist() == [actual + i for i in range(77)]
        assert clip["text"] == f"text {actual}"
        assert clip["key"] == f"sample_{actual}"
        expected = torch.full((16,), actual / 10) if actual else torch.full((16,), torch.nan)
        torch.testing.assert_close(clip["size"], expected, equal_nan=True)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_pytorchs_loader_makes_batches(manifest: Path, num_workers: int) -> None:
    loader = DataLoader(
        ClipDataset(manifest),
        batch_size=2,
        num_workers=num_workers,
        multiprocessing_context="spawn" if num_workers else None,
    )
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["frames"].shape == (2, 16, 3, 6, 8)
    assert [key for batch in batches for key in batch["key"]] == [f"sample_{i}" for i in range(5)]


def test_a_copy_in_another_process_opens_files_of_its_own(manifest: Path) -> None:
    clips = ClipDataset(manifest)
    first = clips[0]["frames"]
    copied = pickle.loads(pickle.dumps(clips))
    assert torch.equal(copied[0]["frames"], first)


def test_a_damaged_clip_is_named_and_the_others_are_read(manifest: Path) -> None:
    shard = manifest.with_name("shard-000000.tar")
    data = bytearray(shard.read_bytes())
    record = json.loads(shard.with_suffix(".json").read_text())
    data[record["samples"][1]["members"][0]["offset"] + 200] ^= 1
    shard.write_bytes(data)
    clips = ClipDataset(manifest)
    with pytest.raises(
        ShardIntegrityError, match=r"shard-000000\.tar: sample_1: member \.npy is da"
    ):
        clips[1]
    assert clips[0]["key"] == "sample_0"


@pytest.mark.parametrize(
    ("suffix", "content", "match"),
    [
        ("size.json", b'{"a": 1}', r"is {'a': 1}; expected 16 numbers or null"),
        ("size.json", json.dumps([None] * 16).encode(), r"is \[None, .*; expected 16 numbers"),
        ("size.json", json.dumps(["1"] * 16).encode(), r"is \['1', .*; expected 16 numbers"),
        ("size.json", json.dumps([10**400] * 16).encode(), "expected 16 numbers"),
        ("size.json", b"0.5", r"is 0\.5; expected 16 numbers"),
        ("size.json", b'""', r"is ''; expected 16 numbers"),
        ("size.json", b"[0.5, 0.5]", r"is \[0\.5, 0\.5\]; expected 16 numbers"),
        ("size.json", b"[" * 100_000, r"member \.size\.json is not JSON"),
        ("tokens.npy", b"", r"member \.tokens\.npy is not an array"),
        ("tokens.npy", encode_npy(np.arange(0)), r"member \.tokens\.npy is of shape \(0,\)"),
        ("tokens.npy", encode_npy(np.array(3)), r"tokens are int64 of shape \(\)"),
        ("npy", encode_npy(np.zeros((0, 6, 8, 3), np.uint8)), "which holds no value"),
    ],
    ids=range(12),
)
def test_a_member_of_another_kind_is_named(
    tmp_path: Path, suffix: str, content: bytes, match: str
) -> None:
    members = {
        "npy": encode_npy(make_frames(1)),
        "txt": b"text",
        "tokens.npy": encode_npy(np.arange(77)),
        "size.json": b"null",
        suffix: content,
    }
    pack_tar(tmp_path / "a.tar", {"clip": members})
    with pytest.raises(ShardIntegrityError, match=rf"a\.tar: clip: .*{match}.*; copy it again"):
        ClipDataset(tmp_path / "a.tar")[0]


def test_what_is_not_there_is_an_index_error(manifest: Path) -> None:
    for index in (5, -6):
        with pytest.raises(IndexError, match="of 5"):
            ClipDataset(manifest)[index]


def test_another_file_is_no_manifest(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ShardIntegrityError, match="not a manifest of medassets"):
        ClipDataset(tmp_path / "manifest.json")


def test_an_unknown_layout_is_named(manifest: Path) -> None:
    with pytest.raises(ValueError, match="layout: expected one of tchw, thwc, got 'bgr'"):
        ClipDataset(manifest, layout="bgr")  # pyright: ignore[reportArgumentType]

"""Volumes as a training script sees them, against tarfile and numpy."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, default_collate

from medassets.errors import ShardIntegrityError
from medassets.loaders import VolumeDataset, VolumeStream
from medassets.loaders.arrays import _TILE_BYTES  # pyright: ignore[reportPrivateUsage]
from medassets.loaders.collate import StackedSamples
from medassets.loaders.widen_kernel import widen_half
from medassets_tests.loaders.conftest import COUNTS, SHAPE
from medassets_tests.loaders.contract import DatasetContract
from medassets_tests.small_shards import (
    make_labels,
    make_shards,
    make_volume,
    make_volume_members,
    pack_tar,
)
from medassets_tests.storage.formats.test_npy import BROKEN, wrap

NUM_SAMPLES = sum(COUNTS)


class TestVolumeDataset(DatasetContract):
    def write(self, folder: Path) -> Path:
        return make_shards(folder, (3, 2), partial(make_volume_members, shape=SHAPE))

    def open(self, source: Any, **arguments: Any) -> VolumeDataset:
        return VolumeDataset(source, **arguments)


def read_volume(folder: Path, number: int) -> np.ndarray:
    """Return a volume (1, D, H, W) as the standard library and numpy read it."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            if f"sample_{number}.bin" in tar.getnames():
                file = tar.extractfile(f"sample_{number}.bin")
                assert file is not None
                stored = np.frombuffer(file.read(), "<f2").reshape(SHAPE)
                return stored.transpose(2, 0, 1)[None]
    raise AssertionError(number)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_volume_comes_back_whatever_the_order(split: Path, dtype: str) -> None:
    volumes = VolumeDataset(split, dtype=dtype)  # pyright: ignore[reportArgumentType]
    assert len(volumes) == NUM_SAMPLES
    for number in (5, 0, 7, 3, 1, -1):
        sample, actual = volumes[number], number % NUM_SAMPLES
        expected = read_volume(split.parent, actual)
        assert sample["volume"].shape == (1, SHAPE[2], SHAPE[0], SHAPE[1])
        assert sample["volume"].dtype == getattr(torch, dtype)
        np.testing.assert_array_equal(sample["volume"].numpy(), expected.astype(dtype))
        assert sample["report"] == f"report {actual}: ground-glass, 3 µm"
        np.testing.assert_array_equal(sample["labels"].numpy(), make_labels(actual))
        assert sample["study_id"] == f"study_{actual}"
        assert sample["key"] == f"sample_{actual}"
    assert volumes.sample_bytes == np.prod(SHAPE) * np.dtype(dtype).itemsize
    with pytest.raises(IndexError, match="sample 8 of 8"):
        volumes[8]


def test_the_volume_is_a_view_of_what_is_stored(split: Path) -> None:
    volume = VolumeDataset(split)[0]["volume"]
    assert volume[0].stride() == (1, SHAPE[1] * SHAPE[2], SHAPE[2])


def test_shards_of_the_public_trainer_are_read(trainer_shards: Path) -> None:
    volumes = VolumeDataset(f"{trainer_shards}/shard-{{000000..000002}}.tar", dtype="float32")
    assert [volumes[n]["study_id"] for n in range(8)] == [f"study_{n}" for n in range(8)]
    sample = volumes[6]
    expected = make_volume(6, SHAPE).astype(np.float32).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(sample["volume"].numpy(), expected)
    np.testing.assert_array_equal(sample["labels"].numpy(), make_labels(6))
    assert sample["report"] == "findings 6 impressions"


def encode_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a,
        lambda a: np.asfortranarray(a),
        lambda a: a.astype(">f2"),
        lambda a: (a * 1000).astype(np.int16),
        lambda a: a.astype(np.float32),
    ],
    ids=["plain", "fortran", "big-endian", "int16", "float32"],
)
def test_npy_members_of_any_kind_are_read(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]
) -> None:
    stored = change(make_volume(1, SHAPE))
    pack_tar(tmp_path / "a.tar", {"a": {"npy": encode_npy(stored), "txt": b""}})
    sample = VolumeDataset(tmp_path / "a.tar", dtype="float32")[0]
    expected = stored.astype(np.float32).transpose(2, 0, 1)[None]
    np.testing.assert_array_equal(sample["volume"].numpy(), expected)
    assert sample["study_id"] == "a"
    assert sample["labels"].shape == (0,)


def test_every_half_is_widened_exactly(tmp_path: Path) -> None:
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    out = np.empty(1 << 16, np.float32)
    widen_half(values, out)
    np.testing.assert_array_equal(out, values.astype(np.float32))
    # More than one tile, and a rest.
    shape = (64, 64, (_TILE_BYTES >> 12) + 3)
    manifest = make_shards(tmp_path, [2], partial(make_volume_members, shape=shape))
    batch = VolumeDataset(manifest, dtype="float32", check="always").__getitems__([1, 0])
    for sample, number in zip(batch, (1, 0), strict=True):
        expected = make_volume(number, shape).astype(np.float32).transpose(2, 0, 1)[None]
        np.testing.assert_array_equal(sample["volume"].numpy(), expected)


def test_what_does_not_fit_the_dtype_is_refused(tmp_path: Path) -> None:
    wide = make_volume(1, SHAPE).astype(np.float32)
    pack_tar(tmp_path / "a.tar", {"a": {"npy": encode_npy(wide), "txt": b""}})
    with pytest.raises(ValueError, match=r"a\.tar: a: stored as float32, .* dtype='float32'"):
        VolumeDataset(tmp_path / "a.tar")[0]
    with pytest.raises(ValueError, match="dtype: expected one of float16, float32, got 'half'"):
        VolumeDataset(tmp_path / "a.tar", dtype="half")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="check: expected one of first, always, never"):
        VolumeDataset(tmp_path / "a.tar", check="no")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("stored", "dtype", "remedy"),
    [
        ("float32", "float16", "ask for dtype='float32'"),
        ("int16", "float16", "ask for dtype='float32'"),
        ("float64", "float32", "convert the arrays to float32 and pack the shards again"),
        ("float64", "float16", "convert the arrays to float32 and pack the shards again"),
        ("int32", "float32", "convert the arrays to int16 or float32 and pack"),
        ("uint64", "float16", "convert the arrays to int16 or float32 and pack"),
    ],
)
@pytest.mark.parametrize("suffix", ["npy", "bin"])
def test_the_remedy_for_a_wide_dtype_works(
    tmp_path: Path, suffix: str, stored: str, dtype: Any, remedy: str
) -> None:
    array = np.ones(SHAPE, stored)
    members = {
        suffix: encode_npy(array) if suffix == "npy" else array.tobytes(),
        "json": json.dumps({"shape": SHAPE, "dtype": stored}).encode(),
        "txt": b"",
    }
    pack_tar(tmp_path / "a.tar", {"a": members})
    with pytest.raises(ValueError, match=rf"a: stored as {stored}, which {dtype} .*; .*{remedy}"):
        VolumeDataset(tmp_path / "a.tar", dtype=dtype)[0]
    if "ask for" in remedy:
        VolumeDataset(tmp_path / "a.tar", dtype="float32")[0]


DOCUMENT: dict[str, Any] = {"study_id": "a", "shape": list(SHAPE), "dtype": "float16"}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"json": b"{"}, r"member \.json is not JSON"),
        ({"json": b"[]"}, "is not an object"),
        ({"json": b"{}"}, "shape None and dtype None; expected such as"),
        ({"json": json.dumps({**DOCUMENT, "shape": [5, 7]}).encode()}, r"has 770 bytes; float16"),
        ({"json": json.dumps({**DOCUMENT, "dtype": "object"}).encode()}, "dtype object"),
        ({"json": json.dumps({**DOCUMENT, "shape": [35, 11]}).encode()}, "expected three axes"),
        ({"json": json.dumps({**DOCUMENT, "num_classes": 3}).encode()}, "3 values of float32"),
        ({"labels": b"123"}, r"member \.labels has 3 bytes"),
        ({"txt": b"\xff"}, r"member \.txt is not UTF-8"),
        ({"txt": None}, r"has no member \.txt, only bin, json, labels"),
        ({"bin": None}, r"has no member \.bin or \.npy"),
        ({"bin": None, "npy": b"\x93NUMPY\x01\x00"}, r"member \.npy is no array"),
        ({"bin": None, "npy": encode_npy(np.zeros(3))[:-1]}, r"member \.npy has 151 bytes"),
        ({"bin": None, "npy": encode_npy(np.zeros((0, 3, 4)))}, "holds no value"),
        ({"json": b"[" * 100_000}, r"member \.json is not JSON"),
        ({"json": json.dumps({**DOCUMENT, "num_classes": None}).encode()}, "num_classes None"),
        ({"json": json.dumps({**DOCUMENT, "num_classes": "18"}).encode()}, "num_classes '18'"),
        ({"json": json.dumps({**DOCUMENT, "shape": [float("inf")] * 3}).encode()}, r"shape \[inf"),
        ({"json": json.dumps({**DOCUMENT, "shape": [10**4000] * 3}).encode()}, r"shape \[1000"),
        ({"json": json.dumps({**DOCUMENT, "shape": "abc"}).encode()}, "shape 'abc'"),
        ({"json": json.dumps({**DOCUMENT, "dtype": ["f2", "(2,"]}).encode()}, r"dtype \['f2'"),
        ({"json": json.dumps({**DOCUMENT, "study_id": {"a": 1}}).encode()}, "study_id {'a': 1}"),
    ],
    ids=map(str, range(22)),
)
def test_a_sample_that_cannot_be_read_is_named_with_its_shard(
    tmp_path: Path, changes: dict[str, bytes | None], match: str
) -> None:
    members: dict[str, bytes | None] = {
        "bin": make_volume(1, SHAPE).tobytes(),
        "json": json.dumps(DOCUMENT).encode(),
        "labels": make_labels(1).tobytes(),
        "txt": b"text",
        **changes,
    }
    there = {suffix: content for suffix, content in members.items() if content is not None}
    pack_tar(tmp_path / "a.tar", {"case": there})
    with pytest.raises(ShardIntegrityError, match=rf"a\.tar: case: .*{match}.*; copy it again"):
        VolumeDataset(tmp_path / "a.tar")[0]


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_header_is_named_with_shard_sample_and_remedy(tmp_path: Path, text: str) -> None:
    pack_tar(tmp_path / "a.tar", {"case": {"npy": wrap(text), "txt": b""}})
    match = r"a\.tar: case: member \.npy is no array of plain numbers \(.*; copy it again"
    with pytest.raises(ShardIntegrityError, match=match):
        VolumeDataset(tmp_path / "a.tar")[0]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=4)), min_size=1, max_size=4))
def test_a_mutated_header_is_never_another_error(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bytes]]
) -> None:
    content = bytearray(encode_npy(make_volume(1, SHAPE)))
    for place, piece in changes:
        content[place : place + len(piece)] = piece
    path = tmp_path_factory.mktemp("mutated") / "a.tar"
    pack_tar(path, {"case": {"npy": bytes(content), "txt": b""}})
    failure = None
    try:
        VolumeDataset(path, dtype="float32")[0]
    except ShardIntegrityError as error:
        failure = str(error)
    assert failure is None or "a.tar: case: " in failure


def test_a_batch_is_read_once_and_never_copied(split: Path) -> None:
    volumes = VolumeDataset(split, dtype="float32")
    samples = volumes.__getitems__([6, 2, 2])
    batch = volumes.collate_fn(samples)
    assert batch["volume"].shape == (3, 1, SHAPE[2], SHAPE[0], SHAPE[1])
    assert batch["volume"].data_ptr() == samples[0]["volume"].data_ptr()
    assert batch["labels"].shape == (3, 18)
    assert batch["study_id"] == ["study_6", "study_2", "study_2"]
    plain = volumes.collate_fn([volumes[n] for n in (6, 2, 2)])
    reference = default_collate([volumes[n] for n in (6, 2, 2)])
    for other in (plain, reference):
        assert torch.equal(other["volume"], batch["volume"])
        assert other["report"] == batch["report"]
    assert plain["volume"][:, 0].stride() == batch["volume"][:, 0].stride()


def test_a_list_that_was_changed_is_no_batch_any_more(split: Path) -> None:
    volumes = VolumeDataset(split)
    samples = volumes.__getitems__([0, 1, 2])
    samples.reverse()
    assert isinstance(samples, StackedSamples)
    batch = volumes.collate_fn(samples)
    assert batch["key"] == ["sample_2", "sample_1", "sample_0"]
    assert torch.equal(batch["volume"][0], volumes[2]["volume"])


def test_volumes_of_different_shapes_make_no_batch(tmp_path: Path) -> None:
    shapes = [(3, 4, 5), (3, 4, 6)]
    manifest = make_shards(tmp_path, [2], lambda n: make_volume_members(n, shapes[n]))
    volumes = VolumeDataset(manifest)
    match = r"sample_0 .*\(3, 4, 5\).* sample_1 .*\(3, 4, 6\).*batch_size=1"
    with pytest.raises(ValueError, match=match):
        volumes.__getitems__([0, 1])
    with pytest.raises(ValueError, match=r"volume: sample_0 has shape .*batch_size=1"):
        volumes.collate_fn([volumes[0], volumes[1]])


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_pytorchs_loader_gets_batches_from_shared_memory(split: Path, context: str) -> None:
    volumes = VolumeDataset(split)
    volumes[0]
    loader = DataLoader(
        volumes,
        batch_size=3,
        num_workers=2,
        collate_fn=volumes.collate_fn,
        multiprocessing_context=context,
    )
    batches = list(loader)
    assert [len(batch["key"]) for batch in batches] == [3, 3, 2]
    assert all(batch["volume"].is_shared() for batch in batches)
    for number, volume in enumerate(torch.cat([batch["volume"] for batch in batches])):
        np.testing.assert_array_equal(volume.numpy(), read_volume(split.parent, number))


def test_a_copy_in_another_process_opens_files_of_its_own(split: Path) -> None:
    volumes = VolumeDataset(split)
    first = volumes[0]["volume"]
    assert torch.equal(pickle.loads(pickle.dumps(volumes))[0]["volume"], first)


def damage(manifest: Path, number: int, suffix: str) -> None:
    for record in sorted(manifest.parent.glob("shard-*.json")):
        for sample in json.loads(record.read_text())["samples"]:
            if sample["key"] == f"sample_{number}":
                member = next(m for m in sample["members"] if m["suffix"] == suffix)
                with record.with_suffix(".tar").open("r+b") as file:
                    file.seek(member["offset"] + 1)
                    byte = file.read(1)[0]
                    file.seek(member["offset"] + 1)
                    file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("suffix", ["bin", "txt", "cls", "json"])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_damaged_member_is_named_and_the_others_are_read(
    own_split: Path, suffix: str, dtype: str
) -> None:
    damage(own_split, 5, suffix)
    volumes = VolumeDataset(own_split, dtype=dtype)  # pyright: ignore[reportArgumentType]
    match = (
        rf"shard-000001\.tar: sample_5: member \.{suffix} is damaged .*`medassets verify tiny` .*"
        r"`medassets build tiny --partitions train-000001 --force`"
    )
    for _ in range(2):
        with pytest.raises(ShardIntegrityError, match=match):
            volumes[5]
    assert volumes[4]["key"] == "sample_4"


def test_contents_are_checked_when_asked_for(own_split: Path) -> None:
    readers = {c: VolumeDataset(own_split, check=c) for c in ("first", "always", "never")}
    for volumes in readers.values():
        volumes[5]
    damage(own_split, 5, "bin")
    readers["first"][5]
    readers["never"][5]
    VolumeDataset(own_split, check="never")[5]
    with pytest.raises(ShardIntegrityError, match="sample_5"):
        readers["always"][5]
    # Another process has not read it yet.
    with pytest.raises(ShardIntegrityError, match="sample_5"):
        pickle.loads(pickle.dumps(readers["first"]))[5]


def test_a_shard_that_goes_or_shrinks_during_training_is_named(own_split: Path) -> None:
    volumes = VolumeDataset(own_split)
    shard = own_split.with_name("shard-000001.tar")
    volumes[4]
    with shard.open("r+b") as file:
        file.truncate(3000)
    with pytest.raises(ShardIntegrityError, match=r"shard-000001\.tar: sample_6: .*cut off"):
        volumes[6]
    with pytest.raises(ShardIntegrityError, match=r"sample_6: the shard has 3,000 bytes now"):
        pickle.loads(pickle.dumps(volumes))[6]
    shard.unlink()
    with pytest.raises(ShardIntegrityError, match=r"sample_6: the shard cannot be opened"):
        pickle.loads(pickle.dumps(volumes))[6]


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("uneven", ["pad", "drop"])
def test_a_stream_reads_equal_stretches(
    split: Path, num_workers: int, world_size: int, uneven: Any
) -> None:
    seen: list[str] = []
    for rank in range(world_size):
        stream = VolumeStream(split, rank=rank, world_size=world_size, uneven=uneven)
        loader = DataLoader(
            stream, batch_size=2, num_workers=num_workers, collate_fn=stream.collate_fn
        )
        keys = [key for batch in loader for key in batch["key"]]
        assert len(keys) == len(stream)
        if not num_workers:
            numbers = [int(key.removeprefix("sample_")) for key in keys]
            assert numbers == [(numbers[0] + n) % NUM_SAMPLES for n in range(len(numbers))]
        seen += keys
    extra = len(seen) - len(set(seen))
    if uneven == "pad":
        assert len(set(seen)) == NUM_SAMPLES
        assert extra == -NUM_SAMPLES % world_size
    else:
        assert extra == 0
        assert len(seen) == NUM_SAMPLES - NUM_SAMPLES % world_size

"""Arrays of shards in tensors, against numpy; what cannot be read is named."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import ShardIntegrityError
from medassets.loaders import VolumeDataset
from medassets_tests.loaders.conftest import SHAPE
from medassets_tests.small_shards import (
    make_volume,
    pack_tar,
)
from medassets_tests.storage.formats.test_npy import BROKEN, wrap


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


DOCUMENT: dict[str, Any] = {
    "study_id": "a",
    "shape": list(SHAPE),
    "dtype": "float16",
    "num_classes": 18,
}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"json": b"{"}, r"member \.json is not JSON"),
        ({"json": b"[]"}, "is not an object"),
        ({"json": b"{}"}, "shape None and dtype None; expected such as"),
        ({"json": json.dumps({**DOCUMENT, "shape": [5, 7]}).encode()}, r"has 770 bytes; float16"),
        ({"json": json.dumps({**DOCUMENT, "dtype": "object"}).encode()}, "dtype object"),
        ({"json": json.dumps({**DOCUMENT, "shape": [35, 11]}).encode()}, "expected three axes"),
        ({"json": json.dumps({**DOCUMENT, "num_classes": 3}).encode()}, "the json states 3"),
        ({"labels": b"123"}, r"member \.labels: 3 bytes are no whole number"),
        ({"txt": b"\xff"}, r"member \.txt is not UTF-8"),
        ({"txt": None}, r"has no member \.txt, only bin, json, labels"),
        ({"bin": None}, r"has no member \.bin or \.npy"),
        ({"bin": None, "npy": b"\x93NUMPY\x01\x00"}, r"member \.npy is not an array"),
        ({"bin": None, "npy": encode_npy(np.zeros(3))[:-1]}, r"member \.npy has 151 bytes"),
        ({"bin": None, "npy": encode_npy(np.zeros((0, 3, 4)))}, "holds no value"),
        ({"json": b"[" * 100_000}, r"member \.json is not JSON"),
        ({"json": json.dumps({**DOCUMENT, "num_classes": "18"}).encode()}, "num_classes '18'"),
        ({"json": json.dumps({**DOCUMENT, "shape": [float("inf")] * 3}).encode()}, r"shape \[inf"),
        ({"json": json.dumps({**DOCUMENT, "shape": [10**4000] * 3}).encode()}, r"shape \[1000"),
        ({"json": json.dumps({**DOCUMENT, "shape": "abc"}).encode()}, "shape 'abc'"),
        ({"json": json.dumps({**DOCUMENT, "dtype": ["f2", "(2,"]}).encode()}, r"dtype \['f2'"),
        ({"json": json.dumps({**DOCUMENT, "study_id": {"a": 1}}).encode()}, "study_id {'a': 1}"),
    ],
    ids=map(str, range(21)),
)
def test_a_sample_that_cannot_be_read_is_named_with_its_shard(
    tmp_path: Path, changes: dict[str, bytes | None], match: str
) -> None:
    members: dict[str, bytes | None] = {
        "bin": make_volume(1, SHAPE).tobytes(),
        "json": json.dumps(DOCUMENT).encode(),
        "labels": np.ones(18, "<f4").tobytes(),
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
    match = r"a\.tar: case: member \.npy is not an array of plain numbers \(.*; copy it again"
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

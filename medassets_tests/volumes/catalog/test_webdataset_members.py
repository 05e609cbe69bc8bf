"""What one sample of a foreign tar holds, read from the tar."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.tars.index import index_tar
from medassets.tars.reader import open_tar
from medassets.volumes.catalog.webdataset_members import TarSample, call_or_reject

OpenSample = Callable[..., TarSample]


def encode_npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def encode_npz(**arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


@pytest.fixture
def open_sample(tmp_path: Path) -> Iterator[OpenSample]:
    """Return a function that writes members (suffix -> content) to a tar and opens it."""
    with ExitStack() as stack:

        def open_it(members: dict[str, bytes]) -> TarSample:
            path = tmp_path / "shard.tar"
            with tarfile.open(path, "w") as made:
                for suffix, content in members.items():
                    info = tarfile.TarInfo(f"0001.{suffix}")
                    info.size = len(content)
                    made.addfile(info, io.BytesIO(content))
            tar = stack.enter_context(open_tar(path))
            return TarSample(tar, index_tar(path)["0001"])

        yield open_it


def test_facts_are_the_json_of_the_sample(open_sample: OpenSample) -> None:
    facts = {"study_id": "a", "shape": [5, 7, 11]}
    sample = open_sample({"bin": b"1", "json": json.dumps(facts).encode(), "txt": b"2"})
    assert sample.read_facts("json") == facts


@pytest.mark.parametrize(
    ("members", "match"),
    [
        ({"bin": b"1"}, r"has no \.json, which names the study"),
        ({"json": b"[1]"}, r"\.json: expected an object"),
        ({"json": b" " * ((1 << 24) + 1)}, r"\.json has 16,777,217 bytes; expected some facts"),
    ],
)
def test_a_sample_without_facts_is_rejected(
    members: dict[str, bytes], match: str, open_sample: OpenSample
) -> None:
    with pytest.raises(SampleRejectedError, match=match) as caught:
        open_sample(members).read_facts("json")
    assert caught.value.reason is Reason.BAD_RECORD


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("npy", encode_npy(np.zeros((5, 7, 11), ">i2"))),
        ("ct.npy", encode_npy(np.zeros((5, 7, 11), "<i2", order="F"))),
        ("npz", encode_npz(data=np.zeros((5, 7, 11), np.int16), other=np.zeros(3))),
    ],
)
def test_an_array_with_a_header_says_its_shape_and_dtype(
    suffix: str, content: bytes, open_sample: OpenSample
) -> None:
    columns = open_sample({suffix: content}).read_array_columns(suffix, {}, "data")
    assert columns == {"shape": [5, 7, 11], "array_dtype": "int16"}


@pytest.mark.parametrize(
    ("suffix", "content"),
    [("npy", b"garbage"), ("npz", b"PK\3\4"), ("npz", encode_npz(other=np.zeros((5, 7, 11))))],
)
def test_an_array_that_cannot_be_opened_says_nothing(
    suffix: str, content: bytes, open_sample: OpenSample
) -> None:
    assert open_sample({suffix: content}).read_array_columns(suffix, {}, "data") == {}


def test_the_json_says_shape_and_dtype_of_plain_bytes(open_sample: OpenSample) -> None:
    sample, facts = open_sample({"bin": b"1"}), {"shape": [5, 7, 11], "dtype": "int16"}
    columns = sample.read_array_columns("bin", facts, "data")
    assert columns == {"shape": [5, 7, 11], "array_dtype": "int16"}
    with pytest.raises(SampleRejectedError, match="shape: expected the sides") as caught:
        sample.read_array_columns("bin", facts | {"shape": 5}, "data")
    assert caught.value.reason is Reason.BAD_RECORD


def test_a_sample_without_a_volume_names_what_it_has(open_sample: OpenSample) -> None:
    sample = open_sample({"txt": b"1", "cls": b""})
    match = r"has no volume .*, only \.txt, \.cls"
    with pytest.raises(SampleRejectedError, match=match) as caught:
        sample.read_array_columns(None, {}, "data")
    assert caught.value.reason is Reason.BAD_RECORD


def test_a_key_with_dots_is_named(open_sample: OpenSample) -> None:
    sample = open_sample({"2.840.1.bin": b"1", "2.840.1.json": b"{}"})
    with pytest.raises(
        SampleRejectedError, match=r"has no \.json, but \.2\.840\.1\.json: a key ends"
    ):
        sample.read_facts("json")


def test_a_member_is_required_to_be_there_and_not_empty(open_sample: OpenSample) -> None:
    sample = open_sample({"txt": b"1", "cls": b""})
    sample.require("txt", Reason.MISSING_REPORT, "text (txt)")
    with pytest.raises(SampleRejectedError, match=r"has no labels, only \.txt, \.cls"):
        sample.require(None, Reason.MISSING_LABELS, "labels")
    with pytest.raises(SampleRejectedError, match=r"\.cls is empty") as caught:
        sample.require("cls", Reason.MISSING_LABELS, "labels")
    assert caught.value.reason is Reason.MISSING_LABELS


def test_a_value_error_becomes_a_rejection_and_no_other_error_does() -> None:
    assert call_or_reject(Reason.BAD_NAME, lambda: 7) == 7
    with pytest.raises(SampleRejectedError, match=r"start: .*int") as caught:
        call_or_reject(Reason.BAD_NAME, lambda: int("x"), "start: ")
    assert caught.value.reason is Reason.BAD_NAME
    with pytest.raises(KeyError, match="x"):
        call_or_reject(Reason.BAD_NAME, lambda: {}["x"])

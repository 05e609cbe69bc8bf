"""Labels as a trainer sees them: those of other tools' shards are certain, declared, or asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError, UsageError
from medassets.loaders import VolumeDataset
from medassets_tests.small_shards import pack_tar

VECTORS = [[0, 1, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]]
SHAPE = (2, 3, 4)


def write(folder: Path, cls: list[bytes], facts: list[dict[str, Any]] | None = None) -> Path:
    stated = {"shape": SHAPE, "dtype": "float16"}
    samples = {
        f"s{n}": {
            "bin": np.zeros(SHAPE, np.float16).tobytes(),
            "txt": b"report",
            "cls": content,
            "json": json.dumps({**stated, **(facts[n] if facts else {})}).encode(),
        }
        for n, content in enumerate(cls)
    }
    pack_tar(folder / "a.tar", samples)
    return folder / "a.tar"


def read_all(path: Path, **options: Any) -> list[list[float]]:
    volumes = VolumeDataset(str(path), **options)
    return [volumes[n]["labels"].tolist() for n in range(len(volumes))]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i2", ">i4", "<u8", "i1"])
def test_raw_labels_of_every_type_have_their_values(tmp_path: Path, dtype: str) -> None:
    cls = [np.array(vector, dtype).tobytes() for vector in VECTORS]
    counted = write(tmp_path, cls, [{"num_classes": 3}] * 4)
    assert read_all(counted) == VECTORS
    named = write(tmp_path, cls, [{"labels": dict(zip("ABC", v, strict=True))} for v in VECTORS])
    assert read_all(named) == VECTORS
    assert read_all(write(tmp_path, cls), label_type=dtype) == VECTORS


def test_text_and_json_are_read(tmp_path: Path) -> None:
    assert read_all(write(tmp_path, [b"3", b"1024", b"0\n"])) == [[3], [1024], [0]]
    assert read_all(write(tmp_path, [json.dumps(v).encode() for v in VECTORS])) == VECTORS


def test_a_type_that_is_not_certain_is_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, [np.array(vector, "<i2").tobytes() for vector in VECTORS])
    with pytest.raises(
        UsageError, match=r"^label_type: .*not certain: 6 bytes .*label_type=\"float32\""
    ):
        read_all(path)
    assert read_all(path, label_type="int16") == VECTORS
    with pytest.raises(UsageError, match=r"^label_type: expected a type of numbers"):
        VolumeDataset(str(path), label_type="str")


def test_a_contradiction_names_the_sample(tmp_path: Path) -> None:
    facts = [{"labels": dict(zip("ABC", v, strict=True))} for v in [*VECTORS[:3], VECTORS[0]]]
    path = write(tmp_path, [np.array(vector, "<f4").tobytes() for vector in VECTORS], facts)
    volumes = VolumeDataset(str(path))
    assert [volumes[n]["labels"].tolist() for n in range(3)] == VECTORS[:3]
    with pytest.raises(ShardIntegrityError, match=r"s3: member .cls: A is 1, but 0 in the json"):
        volumes[3]
    with pytest.raises(ShardIntegrityError, match=r"s0: member .cls: .*found 3 bytes of text"):
        read_all(write(tmp_path, [b"0 1", *[bytes(12)] * 3], [{"num_classes": 3}] * 4))


@pytest.mark.parametrize(
    "facts",
    [
        [{"labels": {"A": 1, "B": 0}}, {"labels": {"B": 1, "A": 0}}],
        [{"labels": {"A": 1, "B": 0}}, {"labels": {"C": 1, "D": 0}}],
        [{"label_names": ["A", "B"]}, {"label_names": ["B", "A"]}],
        [{}, {"label_names": ["A", "A"]}],
    ],
)
def test_names_that_differ_between_samples_are_refused(
    tmp_path: Path, facts: list[dict[str, Any]]
) -> None:
    path = write(tmp_path, [np.array([1, 0], "<f4").tobytes()] * 2, facts)
    volumes = VolumeDataset(str(path), label_type="float32")
    assert volumes[0]["labels"].tolist() == [1, 0]
    with pytest.raises(ShardIntegrityError, match=r"s1: member .cls: "):
        volumes[1]
    # In whichever order they are read.
    again = VolumeDataset(str(path), label_type="float32")
    with pytest.raises(ShardIntegrityError, match=r"s1: member .cls: "):
        again[1]


def test_two_members_of_labels_are_compared(tmp_path: Path) -> None:
    shape = {"shape": SHAPE, "dtype": "float16", "num_classes": 2}
    for number, (other, is_same) in enumerate([(b"1, 0", True), (b"0, 1", False)]):
        sample = {
            "bin": np.zeros(SHAPE, np.float16).tobytes(),
            "txt": b"report",
            "cls": other,
            "labels": np.array([1, 0], "<f4").tobytes(),
            "json": json.dumps(shape).encode(),
        }
        pack_tar(tmp_path / f"{number}.tar", {"s": sample})
        volumes = VolumeDataset(str(tmp_path / f"{number}.tar"))
        if is_same:
            assert volumes[0]["labels"].tolist() == [1, 0]
            continue
        with pytest.raises(ShardIntegrityError, match=r"\.labels: 1, 0, but \.cls has 4 bytes"):
            volumes[0]

"""Contents of any tar are described; what cannot be read is a problem of its member."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError
from medassets.shards.inspection import describe_samples
from medassets_tests.shared_cases import find_case
from medassets_tests.small_shards import pack_tar
from medassets_tests.tars.raw_tars import HUGE, write


def _encode_npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def test_arrays_have_the_figures_of_numpy(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=(5, 7, 11)).astype("<f4")
    values[0, 0, :2] = np.nan, np.inf
    finite = values[np.isfinite(values)]
    facts = json.dumps({"shape": [5, 7, 11], "dtype": "float32"}).encode()
    path = tmp_path / "a.tar"
    members = {"bin": values.tobytes(), "npy": _encode_npy(values), "json": facts}
    pack_tar(path, {"0": members})
    (sample,) = describe_samples(path, num_samples=1)
    for suffix in ("bin", "npy"):
        found = sample["members"][suffix]
        assert found["bytes"] == len(members[suffix])
        assert (found["shape"], found["dtype"], found["not_finite"]) == ([5, 7, 11], "float32", 2)
        assert (found["min"], found["max"]) == (finite.min(), finite.max())
        assert found["mean"] == pytest.approx(finite.mean(dtype=np.float64))


def test_an_npz_is_described_array_by_array(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez_compressed(file, a=np.arange(6).reshape(2, 3), b=np.array(["x"]))
    pack_tar(tmp_path / "a.tar", {"0": {"npz": file.getvalue()}})
    (sample,) = describe_samples(tmp_path / "a.tar", num_samples=1)
    arrays = sample["members"]["npz"]["arrays"]
    assert (arrays["a"]["shape"], arrays["a"]["max"]) == ([2, 3], 5)
    assert arrays["b"] == {"shape": [1], "dtype": "<U1"}


@pytest.mark.parametrize(
    ("content", "values"),
    [
        (b"12\n", [12]),
        (b"[0, 1, 0.5]", [0, 1, 0.5]),
        (b"0 1\n", [0, 1]),
        (_encode_npy(np.array([0, 3])), [0, 3]),
        (np.array([0, 1, 1], "<f4").tobytes(), [0, 1, 1]),
        (np.array([0, 1, 1], ">f4").tobytes(), [0, 1, 1]),
    ],
)
def test_labels_are_read_in_each_form(
    tmp_path: Path, content: bytes, values: list[float | None]
) -> None:
    pack_tar(tmp_path / "a.tar", {"0": {"cls": content}})
    (sample,) = describe_samples(tmp_path / "a.tar", num_samples=1)
    assert sample["members"]["cls"]["values"] == values


def test_labels_are_read_as_the_json_and_the_other_samples_say(tmp_path: Path) -> None:
    facts = {n: json.dumps({"labels": {"A": n, "B": 1}}).encode() for n in range(3)}
    cls = {n: np.array([n, 1], "<i4").tobytes() for n in range(3)}
    samples = {str(n): {"cls": cls[n], "json": facts[n]} for n in range(3)}
    pack_tar(tmp_path / "a.tar", samples | {"3": {"cls": cls[2], "json": facts[0]}})
    *found, wrong = describe_samples(tmp_path / "a.tar", num_samples=4)
    read = [(one["members"]["cls"]["type"], one["members"]["cls"]["values"]) for one in found]
    assert read == [("int32", [n, 1]) for n in range(3)]
    assert "A is 2, but 0 in the json" in wrong["members"]["cls"]["problem"]


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        ("npy", b"\x93NUMPY\x01\x00"),
        ("npz", b"PK"),
        ("json", b"{"),
        ("txt", b"\xff"),
        ("cls", b"normal"),
        ("cls", np.array([0, np.nan], "<f4").tobytes()),
        ("cls", np.array([0, 1], "<i4").tobytes()),
    ],
)
def test_content_that_does_not_fit_its_suffix_is_a_problem(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    pack_tar(tmp_path / "a.tar", {"0": {suffix: content}})
    (sample,) = describe_samples(tmp_path / "a.tar", num_samples=1)
    assert f"not readable as .{suffix}" in sample["members"][suffix]["problem"]


def test_only_the_first_samples_are_described(tmp_path: Path) -> None:
    pack_tar(tmp_path / "a.tar", {str(n): {"txt": b"x" * n} for n in range(5)})
    found = describe_samples(tmp_path / "a.tar", num_samples=3)
    assert [(s["key"], s["members"]["txt"]["characters"]) for s in found] == [
        ("0", 0),
        ("1", 1),
        ("2", 2),
    ]


def test_files_without_samples_are_refused(tmp_path: Path) -> None:
    pack_tar(tmp_path / "empty.tar", {})
    (tmp_path / "text.tar").write_bytes(b"not a tar" * 100)
    for name, words in (
        ("empty.tar", "without samples"),
        ("text.tar", "not a whole tar"),
        (".", "not a regular file"),
    ):
        with pytest.raises(ShardIntegrityError, match=words):
            describe_samples(tmp_path / name, num_samples=1)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("huge_b256.tar", "the size in the header is negative, or larger than a file can be"),
        ("pax_hugelen.tar", "the pax header cannot be read"),
        ("tar_sparse_gnu.tar", r"k22\.bin: a sparse file.*pack the files again.*`--sparse`"),
    ],
)
def test_a_tar_that_cannot_be_read_is_named_with_what_is_wrong(name: str, words: str) -> None:
    with pytest.raises(ShardIntegrityError, match=rf"{name}: not a whole tar file \(.*{words}"):
        describe_samples(find_case(f"headers/{name}"), num_samples=2)


def test_a_label_in_front_of_the_samples_is_skipped() -> None:
    (sample,) = describe_samples(find_case("headers/tar_volume_label.tar"), num_samples=2)
    assert sample["key"] == "k19"
    assert set(sample["members"]) == {"bin", "txt", "cls", "json"}


@pytest.mark.parametrize("name", [*HUGE])
def test_a_number_that_no_file_has_is_named(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.tar", HUGE[name])
    with pytest.raises(ShardIntegrityError, match=r"a\.tar: not a whole tar file"):
        describe_samples(path, num_samples=2)

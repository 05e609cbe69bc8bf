"""Indices of tars, kept between reads."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.tars import index as tar_index
from medassets.tars.index import (
    TarStat,
    find_members,
    index_tar,
    is_tar_path,
    split_sample_path,
    stat_tar,
)
from medassets.tars.reader import open_tar
from medassets_tests.small_shards import pack_tar


def make_tar(path: Path, *keys: str, content: bytes = b"voxels") -> Path:
    pack_tar(path, {key: {"bin": content, "cls": b"", "txt": b"text"} for key in keys})
    return path


def find_reason(path: Path, key: str = "a") -> tuple[Reason, str]:
    with pytest.raises(SampleRejectedError) as caught:
        find_members(path, key)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("a.tar/k", ("a.tar", "k")),
        ("train/a.TAR/some/k", ("train/a.TAR", "some/k")),
        ("a.tar/b.tar/k", ("a.tar", "b.tar/k")),
    ],
)
def test_a_path_is_split_after_its_first_tar(path: str, parts: tuple[str, str]) -> None:
    assert split_sample_path(path) == parts
    assert is_tar_path(parts[0])
    assert not is_tar_path(path)


@pytest.mark.parametrize("path", ["a.tar", "train/a", "a.tgz/k", ""])
def test_a_path_without_tar_or_key_is_refused(path: str) -> None:
    with pytest.raises(CatalogError, match=r"expected <shard>\.tar/<key>, got"):
        split_sample_path(path)


def test_what_cannot_be_read_as_a_tar_rejects_the_sample(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar", "a")
    assert stat_tar(tar) == TarStat(tar.stat().st_size, tar.stat().st_mtime_ns)
    assert find_reason(tar, "b") == (Reason.MISSING_UPSTREAM, "the tar has no sample 'b'")
    os.truncate(tar, 700)
    reason, detail = find_reason(tar)
    assert reason is Reason.CORRUPT_TAR
    assert detail.startswith("the tar is damaged: ")
    assert str(tmp_path) not in detail
    tar.unlink()
    assert find_reason(tar) == (Reason.MISSING_UPSTREAM, "the tar does not exist")
    tar.mkdir()
    assert find_reason(tar) == (Reason.MISSING_UPSTREAM, "the tar is not a regular file")


def test_a_tar_that_was_replaced_is_read_again(tmp_path: Path) -> None:
    tar = make_tar(tmp_path / "a.tar", "zero")
    before = find_members(tar, "zero")
    assert find_reason(tar, "new")[0] is Reason.MISSING_UPSTREAM
    make_tar(tar, "new", "zero", content=b"changed")
    os.utime(tar, ns=(5, 5))
    assert list(index_tar(tar)) == ["new", "zero"]
    members = find_members(tar, "zero")
    assert list(members) == ["bin", "cls", "txt"]
    assert members["bin"] != before["bin"]
    assert tar.read_bytes()[members["bin"].offset :][: members["bin"].size_bytes] == b"changed"


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    scanned: list[Path] = []
    scan = tar_index.scan_tar

    def count(path: Path) -> Any:
        scanned.append(path)
        return scan(path)

    monkeypatch.setattr(tar_index, "scan_tar", count)
    return scanned


def test_a_tar_is_scanned_once_for_all_its_samples(tmp_path: Path, scans: list[Path]) -> None:
    tar = make_tar(tmp_path / "a.tar", "a", "b")
    for _ in range(3):
        assert find_members(tar, "a") is index_tar(tar)["a"]
        find_members(tar, "b")
    assert scans == [tar]


def test_what_is_kept_of_tars_is_bounded(
    tmp_path: Path, scans: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_index, "_cache", tar_index._TarCache(8))
    tars = [make_tar(tmp_path / f"{n}.tar", "a", "b") for n in range(3)]
    for tar, num_scans in ((tars[0], 1), (tars[0], 1), (tars[1], 2), (tars[0], 3), (tars[0], 3)):
        find_members(tar, "a")
        assert len(scans) == num_scans
    monkeypatch.setattr(tar_index, "_cache", tar_index._TarCache(1))
    for _ in range(2):
        find_members(tars[2], "a")
    assert len(scans) == 4


def test_threads_may_ask_at_the_same_time(tmp_path: Path) -> None:
    for n in range(8):
        pack_tar(tmp_path / f"{n}.tar", {f"k{k}": {"bin": bytes([n, k])} for k in range(9)})
    places = [(n, k) for k in range(9) for n in range(8)]
    barrier = threading.Barrier(8)

    def read(n: int, k: int) -> bytes:
        path = tmp_path / f"{n}.tar"
        with open_tar(path) as tar:
            return bytes(tar.read(find_members(path, f"k{k}")["bin"]))

    def run(start: int) -> dict[tuple[int, int], bytes]:
        barrier.wait()
        return {place: read(*place) for place in places[start:] + places[:start]}

    expected = {place: bytes(place) for place in places}
    with ThreadPoolExecutor(8) as pool:
        assert all(found == expected for found in pool.map(run, range(8)))

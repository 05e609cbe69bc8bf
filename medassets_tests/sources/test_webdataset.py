"""Samples of foreign tars as files of a source."""

import errno
import hashlib
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.sources.base import RemoteFile, Source
from medassets.sources.folder import FolderSource
from medassets.sources.hub import HubSource
from medassets.sources.staging import Staging
from medassets.sources.webdataset import WebDatasetSource
from medassets_tests.sources.contract import SourceContract

TAR = "train/shard-000000.tar"
SAMPLE = f"{TAR}/some/folder/a0001"
VOXELS = np.arange(5 * 7 * 11, dtype="<i2").tobytes()


def make_sample(key: str, content: bytes = VOXELS) -> dict[str, Any]:
    return {"__key__": key, "bin": content, "txt": "ein Bericht", "cls": bytes(72), "json": {}}


def write_tar(path: Path, *samples: dict[str, Any]) -> Path:
    from webdataset.writer import TarWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    with TarWriter(str(path)) as writer:
        for sample in samples:
            writer.write(sample)
    return path


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    first, second = make_sample("zero"), make_sample("some/folder/a0001", VOXELS * 3)
    return write_tar(tmp_path / "source" / TAR, first, second)


@pytest.fixture
def source(tar: Path) -> WebDatasetSource:
    return WebDatasetSource(tar.parents[1])


class TestWebDatasetSource(SourceContract):
    path, missing = SAMPLE, f"{TAR}/none"

    @pytest.fixture
    def source(self, tar: Path) -> WebDatasetSource:
        self.tar = tar
        (tar.parents[1] / "table.csv").write_text("name\n")
        return WebDatasetSource(tar.parents[1])

    def change(self) -> None:
        write_tar(self.tar, make_sample("some/folder/a0001"))


def fetch(source: WebDatasetSource, path: str = SAMPLE) -> Any:
    return source.fetch(RemoteFile(path, None, None, None, f"file:{path}"))


def find_reason(source: WebDatasetSource, path: str = SAMPLE) -> tuple[Reason, str]:
    with pytest.raises(SampleRejectedError) as caught:
        fetch(source, path)
    return caught.value.reason, caught.value.detail


def test_it_is_a_local_source_of_files_that_may_change(source: WebDatasetSource) -> None:
    as_source: Source = source
    assert (as_source.is_local, as_source.pinned, as_source.uri) == (True, False, "file:")
    assert as_source.resolve_revision() is None


def test_a_sample_has_the_size_of_its_members_and_the_time_of_its_tar(
    source: WebDatasetSource, tar: Path
) -> None:
    files = source.describe([SAMPLE, f"{TAR}/none", "none.tar/a"], revision=None)
    num_bytes = 3 * len(VOXELS) + len("ein Bericht") + 72 + len("{}")
    mtime_ns = tar.stat().st_mtime_ns
    described = RemoteFile(SAMPLE, num_bytes, None, None, f"file:{SAMPLE}", mtime_ns=mtime_ns)
    assert files == {SAMPLE: described}


def test_a_sample_is_hashed_as_documented_and_left_in_its_tar(
    source: WebDatasetSource, tar: Path
) -> None:
    seen: list[int] = []
    described = source.describe([SAMPLE])[SAMPLE]
    staged = source.fetch(described, on_bytes=seen.append)
    members = {"bin": VOXELS * 3, "cls": bytes(72), "json": b"{}", "txt": b"ein Bericht"}
    lines = [b'["%b",%d]\n%b' % (s.encode(), len(c), c) for s, c in members.items()]
    assert staged.sha256 == hashlib.sha256(b"".join(lines)).hexdigest()
    assert (staged.path, staged.uri, staged.revision) == (tar, f"file:{SAMPLE}", None)
    assert staged.num_bytes == sum(seen) == described.num_bytes


def test_members_larger_than_a_piece_are_hashed_whole(tmp_path: Path) -> None:
    content = np.random.default_rng(3).bytes((9 << 20) + 5)
    write_tar(tmp_path / "a.tar", {"__key__": "a", "bin": content})
    staged = fetch(WebDatasetSource(tmp_path), "a.tar/a")
    assert staged.sha256 == hashlib.sha256(b'["bin",%d]\n' % len(content) + content).hexdigest()


def test_the_digest_does_not_depend_on_the_place_in_the_tar(tmp_path: Path) -> None:
    a, b = make_sample("a"), make_sample("b", b"other")
    write_tar(tmp_path / "one.tar", a, b)
    write_tar(tmp_path / "two.tar", b, a)
    source = WebDatasetSource(tmp_path)
    digests = [fetch(source, path).sha256 for path in ("one.tar/a", "two.tar/a", "one.tar/b")]
    assert digests[0] == digests[1] != digests[2]


def test_another_suffix_or_order_is_another_digest(tmp_path: Path) -> None:
    write_tar(tmp_path / "one.tar", {"__key__": "a", "bin": b"1", "txt": b"2"})
    write_tar(tmp_path / "two.tar", {"__key__": "a", "bin": b"12", "txt": b""})
    write_tar(tmp_path / "three.tar", {"__key__": "a", "npy": b"1", "txt": b"2"})
    source = WebDatasetSource(tmp_path)
    assert len({fetch(source, f"{name}.tar/a").sha256 for name in ("one", "two", "three")}) == 3


def test_only_the_bytes_of_the_sample_are_read(
    source: WebDatasetSource, tar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(source)
    read: list[int] = []
    preadv = os.preadv

    def count(fd: int, buffers: list[memoryview], offset: int) -> int:
        read.extend(map(len, buffers))
        return preadv(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", count)
    num_bytes = fetch(source, f"{TAR}/zero").num_bytes
    assert sum(read) == num_bytes < tar.stat().st_size / 2


def test_staging_leaves_samples_where_they_are(source: WebDatasetSource, tmp_path: Path) -> None:
    paths = [SAMPLE, f"{TAR}/zero"]
    files = source.describe(paths)
    staged = Staging(tmp_path / "staging", budget_bytes=1).stage(source, list(files.values()))
    assert {path: file.uri for path, file in staged.items() if not isinstance(file, Exception)} == {
        path: f"file:{path}" for path in paths
    }
    assert not (tmp_path / "staging").exists()


def test_what_is_not_there_rejects_the_sample(source: WebDatasetSource, tar: Path) -> None:
    reason, detail = find_reason(source, f"{TAR}/none")
    assert reason is Reason.MISSING_UPSTREAM
    assert detail == f"{TAR}: the tar has no sample 'none'"
    fetch(source)
    tar.unlink()
    reason, detail = find_reason(source)
    assert reason is Reason.MISSING_UPSTREAM
    assert detail == f"{TAR}: does not exist in the source, or is a link out of it"
    assert source.describe([SAMPLE]) == {}


@pytest.mark.parametrize(
    "path", ["../a.tar/x", "/a.tar/x", "a.tar/../x", "a.tar\\b.tar/x", "a.tar/x\n"]
)
def test_a_path_that_leaves_the_folder_is_refused(source: WebDatasetSource, path: str) -> None:
    with pytest.raises(CatalogError, match="path in source: expected relative parts"):
        source.describe([path])
    with pytest.raises(CatalogError, match="path in source: expected relative parts"):
        fetch(source, path)


@pytest.mark.parametrize("path", ["a.tar", "train/a", "a.tgz/x"])
def test_a_path_that_is_no_sample_of_a_tar_is_refused(source: WebDatasetSource, path: str) -> None:
    with pytest.raises(CatalogError, match=r"expected <shard>\.tar/<key>, got"):
        source.describe([path])


def test_links_are_followed_inside_the_folder_only(
    source: WebDatasetSource, tmp_path: Path
) -> None:
    outside = write_tar(tmp_path / "outside.tar", make_sample("a"))
    (source.folder / "out.tar").symlink_to(outside)
    (source.folder / "in.tar").symlink_to(source.folder / TAR)
    assert find_reason(source, "out.tar/a")[0] is Reason.MISSING_UPSTREAM
    assert fetch(source, "in.tar/zero").path == source.folder / "in.tar"


def test_a_damaged_tar_rejects_its_samples_and_is_named(
    source: WebDatasetSource, tar: Path
) -> None:
    tar.write_bytes(tar.read_bytes()[: tar.stat().st_size // 2])
    assert source.describe([SAMPLE])[SAMPLE].num_bytes is None
    reason, detail = find_reason(source)
    assert reason is Reason.CORRUPT_TAR
    assert detail.startswith(f"{TAR}: the tar is damaged: ")
    assert "cut off" in detail
    assert str(source.folder) not in detail


@pytest.mark.parametrize("known", [False, True], ids=["headers", "contents"])
def test_an_unreadable_tar_rejects_its_samples(
    source: WebDatasetSource, *, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    if known:
        source.describe([SAMPLE])
    monkeypatch.setattr(os, "preadv", fail)
    reason, detail = find_reason(source)
    assert reason is Reason.UNREADABLE_SOURCE
    assert detail.startswith(f"{TAR}: ")


def test_a_folder_or_pipe_that_is_named_like_a_tar_is_no_tar(source: WebDatasetSource) -> None:
    (source.folder / "folder.tar").mkdir()
    os.mkfifo(source.folder / "pipe.tar")
    for name in ("folder.tar", "pipe.tar"):
        assert find_reason(source, f"{name}/a")[0] is Reason.MISSING_UPSTREAM


def test_a_tar_that_changes_while_it_is_read_rejects_the_sample(
    source: WebDatasetSource, tar: Path
) -> None:
    def touch(_: int) -> None:
        os.utime(tar, ns=(1, 1))

    described = source.describe([SAMPLE])[SAMPLE]
    with pytest.raises(SampleRejectedError, match="changed while it was read") as caught:
        source.fetch(described, on_bytes=touch)
    assert caught.value.reason is Reason.UNREADABLE_SOURCE


def test_every_source_says_which_file_holds_an_item(source: WebDatasetSource) -> None:
    assert source.physical_path(SAMPLE) == TAR
    assert source.physical_path("gone/b.TAR/x.tar/y") == "gone/b.TAR"
    assert FolderSource(source.folder).physical_path("a/b.npz") == "a/b.npz"
    assert HubSource("org/name").physical_path("a/b.nii.gz") == "a/b.nii.gz"


def test_a_table_beside_the_tars_is_read(source: WebDatasetSource) -> None:
    (source.folder / "table.csv").write_bytes(b"a\n")
    assert source.read_table("table.csv") == b"a\n"
    with pytest.raises(CatalogError, match="does not exist or is not a folder"):
        replace(source, folder=source.folder / "none").resolve_revision()

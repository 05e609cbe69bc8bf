"""Streams are opened by their scheme, and read to the end mark of their tar."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest

from medassets.errors import ShardIntegrityError
from medassets.loaders.webdatasets.opening import expand_tars, open_streams, open_url


@pytest.fixture
def tar(tmp_path: Path) -> Path:
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as packed:
        member = tarfile.TarInfo("a.txt")
        member.size = 3
        packed.addfile(member, io.BytesIO(b"abc"))
    return path


def read(url: str) -> list[dict[str, object]]:
    return [one for one in expand_tars(open_streams([{"url": url}])) if one]


@pytest.mark.parametrize("scheme", ["file://", "pipe:cat "])
def test_a_whole_tar_gives_its_members(tar: Path, scheme: str) -> None:
    (member,) = read(f"{scheme}{tar}")
    assert (member["fname"], member["data"]) == ("a.txt", b"abc")


def test_a_tar_without_end_mark_was_cut_off(tar: Path) -> None:
    tar.write_bytes(tar.read_bytes()[:1024])
    with pytest.raises(ShardIntegrityError, match="ends without its end mark"):
        read(f"file://{tar}")
    tar.write_bytes(b"")
    with pytest.raises(ShardIntegrityError, match=r"cannot be read to its end \(empty file\)"):
        read(f"file://{tar}")


def test_the_end_of_a_compressed_tar_is_that_of_its_compression(tar: Path) -> None:
    packed = gzip.compress(tar.read_bytes())
    tar.write_bytes(packed)
    assert len(read(f"file://{tar}")) == 1


def test_a_url_that_nothing_opens_is_named() -> None:
    with pytest.raises(ShardIntegrityError, match=r"s9://b/a\.tar: the shard cannot be opened"):
        open_url("s9://b/a.tar")

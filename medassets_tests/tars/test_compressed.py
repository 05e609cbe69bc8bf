"""Compressed tars, written by `tarfile` and compressed by the standard library."""

import bz2
import gzip
import lzma
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import DamagedTarError
from medassets.tars.compressed import open_any_tar
from medassets.tars.scan import iter_samples, scan_tar, scan_until_damage
from medassets_tests.small_shards import pack_tar

SAMPLES = {
    f"k{n}": {"bin": np.random.default_rng(n).bytes(30_000), "txt": f"report {n}".encode()}
    for n in range(3)
}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    pack_tar(tmp_path / "a.tar", SAMPLES)
    return tmp_path / "a.tar"


@pytest.fixture
def packed(plain: Path) -> Path:
    """The tar, compressed with gzip."""
    path = plain.with_name("a.tar.gz")
    path.write_bytes(gzip.compress(plain.read_bytes()))
    return path


@pytest.mark.parametrize(
    "compress",
    [bytes, gzip.compress, bz2.compress, lzma.compress],
    ids=["plain", "gzip", "bzip2", "xz"],
)
def test_a_compressed_tar_has_the_samples_that_tarfile_wrote(
    plain: Path, tmp_path: Path, compress: Callable[[bytes], bytes]
) -> None:
    # The name does not tell the compression; the first bytes do.
    path = tmp_path / "b.tar"
    path.write_bytes(compress(plain.read_bytes()))
    with open_any_tar(path) as tar:
        found = {
            sample.key: {suffix: tar.read(member) for suffix, member in sample.members.items()}
            for sample in iter_samples(tar)
        }
        assert tar.size_bytes == (path.stat().st_size if compress is bytes else None)
    assert found == SAMPLES


def test_members_are_at_the_offsets_of_the_plain_tar(plain: Path, packed: Path) -> None:
    with open_any_tar(packed) as tar:
        found = {sample.key: sample.members for sample in iter_samples(tar)}
    assert found == scan_tar(plain)


def test_ranges_are_read_backwards_too(plain: Path, packed: Path) -> None:
    content = plain.read_bytes()
    with open_any_tar(packed) as tar:
        for start in (60_000, 512, 31_000, 0):
            assert tar.read_range(start, 700) == content[start : start + 700]
        assert tar.read_range(len(content) - 3, 10) == content[-3:]


def test_the_checksum_of_a_member_is_compared(plain: Path, packed: Path) -> None:
    member = scan_tar(plain)["k1"]["bin"]
    crc = zlib.crc32(SAMPLES["k1"]["bin"])
    with open_any_tar(packed) as tar:
        assert tar.read(replace(member, crc32=crc)) == SAMPLES["k1"]["bin"]
        match = r"a\.tar\.gz: member \.bin is damaged \(CRC-32 differs\)"
        with pytest.raises(DamagedTarError, match=match):
            tar.read(replace(member, crc32=crc ^ 1))


def test_a_cut_off_stream_tells_the_samples_before_its_end(packed: Path) -> None:
    os.truncate(packed, packed.stat().st_size // 2)
    with open_any_tar(packed) as tar:
        found, what = scan_until_damage(tar)
        assert found[0].key == "k0"
        assert len(found) < 3
        assert what.startswith("cannot be decompressed (")
        with pytest.raises(DamagedTarError, match=r"a\.tar\.gz: cannot be decompressed .*copy it"):
            tar.read_range(80_000, 1000)


def test_a_closed_tar_is_not_read(packed: Path) -> None:
    with open_any_tar(packed) as tar:
        assert any(tar.read_range(0, 512))
    with pytest.raises(ValueError, match="closed file"):
        tar.read_range(0, 512)

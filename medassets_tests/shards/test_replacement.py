"""A tar is replaced only if no sample that exists only in it is lost."""

import io
import tarfile
from pathlib import Path

import pytest

from medassets.errors import (
    ForeignFileError,
    ShardIntegrityError,
)
from medassets.shards.writer import ensure_shard
from medassets.storage.paths import DatasetPaths
from medassets_tests.shards.works import KEY, MakeWork, read_files


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_tar_that_no_record_describes_is_not_replaced_by_other_bytes(
    paths: DatasetPaths, make_work: MakeWork, is_readable: bool
) -> None:
    """A tar with the same keys as the plan, packed by another tool, and one that is no tar."""
    shard = paths.shard(KEY)
    shard.parent.mkdir(parents=True)
    shard.write_bytes(b"not a tar")
    if is_readable:
        with tarfile.open(shard, "w") as tar:
            for item in make_work().items:
                tar.addfile(tarfile.TarInfo(f"{item.key}.txt"))
    before = shard.read_bytes()
    for _ in range(2):
        with pytest.raises(
            ForeignFileError, match=r"shard-000000\.tar: .*is not replaced; move it"
        ):
            ensure_shard(paths, make_work())
        assert shard.read_bytes() == before
        assert not paths.record(KEY).exists()
    shard.unlink()
    assert not ensure_shard(paths, make_work()).adopted


@pytest.mark.parametrize("content", [b"{}", b"notes", b'{"dataset": "other"}'])
def test_a_foreign_file_under_the_name_of_a_record_is_not_replaced(
    paths: DatasetPaths, make_work: MakeWork, content: bytes
) -> None:
    record = paths.record(KEY)
    record.parent.mkdir(parents=True)
    record.write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"shard-000000\.json: this was not made by"):
        ensure_shard(paths, make_work())
    assert read_files(paths) == {record.name: content}


def test_a_tar_with_more_samples_than_its_record_is_not_replaced(
    paths: DatasetPaths, make_work: MakeWork
) -> None:
    ensure_shard(paths, make_work())
    with tarfile.open(paths.shard(KEY), "a") as tar:
        member = tarfile.TarInfo("mine.txt")
        member.size = 20_000
        tar.addfile(member, io.BytesIO(bytes(member.size)))
    before = read_files(paths)
    with pytest.raises(
        ShardIntegrityError, match="holds mine, which the current plan assigns to another shard"
    ):
        ensure_shard(paths, make_work())
    assert read_files(paths) == before


@pytest.mark.parametrize("name", ["shard", "record"])
def test_a_link_under_the_name_of_a_shard_is_not_replaced(
    tmp_path: Path, paths: DatasetPaths, make_work: MakeWork, name: str
) -> None:
    """Nor is the tar behind one taken for the shard: what is published is a file of its folder."""
    ensure_shard(paths, make_work())
    path: Path = getattr(paths, name)(KEY)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    refused = pytest.raises(ForeignFileError, match=rf"{path.name}: this was not made by")
    if name == "record":
        assert ensure_shard(paths, make_work()).adopted
    else:
        with refused:
            ensure_shard(paths, make_work())
    with refused:
        ensure_shard(paths, make_work(plan_fingerprint="another"))
    assert path.is_symlink()

from pathlib import Path

import pytest

from medassets.errors import CatalogError, UsageError
from medassets.storage.paths import (
    DatasetPaths,
    check_member_path,
    dagster_home,
    data_home,
    format_partition_key,
    local_path,
    medassets_home,
    split_partition_key,
    staging_home,
)


def test_partition_key_names_shard_and_record() -> None:
    paths = DatasetPaths(Path("/data"), "ct_rate")
    assert paths.shard("valid-000012") == Path("/data/ct_rate/valid/shard-000012.tar")
    assert paths.record("valid-000012") == Path("/data/ct_rate/valid/shard-000012.json")
    assert paths.catalog == Path("/data/ct_rate/catalog.parquet")
    assert paths.manifest("valid") == Path("/data/ct_rate/valid/manifest.json")
    assert paths.wids_index("valid") == Path("/data/ct_rate/valid/index.json")


def test_partition_key_round_trips() -> None:
    assert split_partition_key(format_partition_key("train", 123)) == ("train", 123)


@pytest.mark.parametrize("key", ["", "train", "train-1", "../x-000000", "a/b-000000", "t-000000\n"])
def test_a_key_that_is_not_a_partition_is_refused(key: str) -> None:
    with pytest.raises(CatalogError, match="partition key"):
        split_partition_key(key)


@pytest.mark.parametrize(("split", "index"), [("train", 1_000_000), ("a-b", 0), ("train", -1)])
def test_split_and_index_that_make_no_key_are_refused(split: str, index: int) -> None:
    with pytest.raises(CatalogError, match="partition key"):
        format_partition_key(split, index)


@pytest.mark.parametrize("split", ["..", "a/b", "", "A"])
def test_a_split_folder_never_leaves_the_dataset(split: str) -> None:
    with pytest.raises(CatalogError, match="partition key"):
        DatasetPaths(Path("/data"), "ct").split_folder(split)


@pytest.mark.parametrize("name", ["..", "a/b", "", "a b", "a.b"])
def test_a_dataset_name_never_leaves_the_root(name: str) -> None:
    with pytest.raises(CatalogError, match="dataset"):
        DatasetPaths(Path("/data"), name)


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "a/../b", "..", "a//b", "a/./b", "a\\b", "a\nb", "a\x00", "a/", "a\udcff"],
)
def test_a_source_path_that_could_escape_is_refused(path: str) -> None:
    with pytest.raises(CatalogError, match="path in source"):
        check_member_path(path)


def test_a_plain_source_path_is_returned() -> None:
    assert check_member_path("dataset/a b/ü.nii.gz") == "dataset/a b/ü.nii.gz"


def test_home_is_read_when_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path))
    assert medassets_home() == tmp_path
    assert (data_home(), staging_home(), dagster_home()) == (
        tmp_path / "data",
        tmp_path / "staging",
        tmp_path / "dagster",
    )
    monkeypatch.delenv("MEDASSETS_HOME")
    assert medassets_home() == Path.home() / "medassets"


def test_shards_of_another_stage_have_a_folder_of_their_own(tmp_path: Path) -> None:
    assert (
        DatasetPaths(tmp_path, "ct").shard("train-000001") == tmp_path / "ct/train/shard-000001.tar"
    )
    frames = DatasetPaths(tmp_path, "video", "frames")
    assert frames.shard("train-000001") == tmp_path / "video/frames/train/shard-000001.tar"
    assert frames.catalog == tmp_path / "video/catalog.parquet"


@pytest.mark.parametrize("url", ["s3://bucket/home", "gs:/bucket", "file:///srv", "HTTP://host"])
def test_a_url_is_no_home(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDASSETS_HOME", url)
    with pytest.raises(UsageError, match=rf"MEDASSETS_HOME: .* got the URL '{url}'"):
        data_home()


def test_a_path_may_have_colons(tmp_path: Path) -> None:
    assert local_path(tmp_path / "a:b" / "c:", field="--out") == tmp_path / "a:b" / "c:"
    assert local_path("./s3:/x", field="--out") == Path.cwd() / "s3:" / "x"


@pytest.mark.parametrize(
    ("share", "said"), [(1 / 8, "0.13"), (0.25, "0.25"), (0.07, "0.07"), (1e-6, "0.01"), (1.0, "1")]
)
def test_the_command_that_accepts_a_loss_rounds_it_up(
    tmp_path: Path, share: float, said: str
) -> None:
    command = DatasetPaths(tmp_path, "lungs").allow_command("max_rejected_share", share)
    assert command == f"medassets build lungs --set max_rejected_share={said}"

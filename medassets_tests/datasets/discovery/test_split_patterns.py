import pytest

from medassets.datasets.discovery.split_patterns import (
    as_pattern,
    split_by_folder,
    split_by_prefix,
)


def test_folders_of_one_level_name_splits() -> None:
    paths = ["raw/valid/a.tar", "raw/train/b.tar", "raw/train/x/c.tar"]
    assert split_by_folder(paths) == {"train": "raw/train", "valid": "raw/valid"}


@pytest.mark.parametrize(
    "paths", [["train/a.tar"], ["train/a.tar", "b.tar"], ["train/a.tar", "other/b.tar"], []]
)
def test_folders_that_do_not_split_all_files_name_none(paths: list[str]) -> None:
    assert split_by_folder(paths) == {}


def test_names_may_begin_with_the_split() -> None:
    assert split_by_prefix(["train-000.tar", "val-000.tar"]) == ["train", "val"]
    assert split_by_prefix(["train-000.tar", "shard-000.tar"]) == []
    assert split_by_prefix(["a/train-000.tar", "b/val-000.tar"]) == []


def test_the_last_mention_of_a_split_becomes_its_place() -> None:
    assert as_pattern("train/meta_train.csv", "train") == "train/meta_{split}.csv"
    assert as_pattern("meta.csv", "train") == "meta.csv"

"""Splits by folder, column and hash; the hash depends on the patient only."""

from collections import Counter

import pytest

from medassets.errors import CatalogError, Reason
from medassets.volumes.catalog.tree.splits import (
    check_kept,
    choose_split_mode,
    hash_split,
    read_split_cell,
    read_split_folders,
)

SPLITS = ("train", "valid", "test")


def choose(folders: dict[str, str | None], **changes: object) -> str:
    options = {"declared": "auto", "has_column": False, "before": None, **changes}
    return choose_split_mode(folders, **options)  # pyright: ignore[reportArgumentType]


def test_column_folders_and_hash_are_chosen_in_this_order() -> None:
    named: dict[str, str | None] = {"train/a": "train", "val/b": "valid"}
    assert choose(named, has_column=True) == "column"
    assert choose(named) == "folder"
    assert choose({"a": None, "b": None}) == choose({}) == "hash"
    assert choose(named, declared="hash") == "hash"


def test_the_first_plan_has_decided() -> None:
    assert choose({"train/a": "train"}, before="hash") == "hash"
    assert choose({"train/a": "train", "b": None}, before="folder") == "folder"


def test_folders_that_name_a_split_beside_others_ask_for_a_declaration() -> None:
    with pytest.raises(
        CatalogError, match=r"1 files are in a folder .* \(train/a\), 1 are not \(b\); declare"
    ):
        choose({"train/a": "train", "b": None})


def test_the_first_folder_that_names_a_split_counts() -> None:
    paths = ["set/imagesTr/a.nii", "set/val/test/b.nii", "set/c.nii", "test.nii"]
    found = read_split_folders(paths, SPLITS)
    assert list(found.values()) == ["train", "valid", None, None]
    assert read_split_folders(["test/val/a.nii"], SPLITS, ("test",)) == {"test/val/a.nii": "valid"}
    assert read_split_folders(["test/p/a.nii"], SPLITS, ("test", "p")) == {"test/p/a.nii": "test"}


def test_cells_name_splits() -> None:
    assert read_split_cell("Validation", SPLITS) == ("valid", None)
    assert read_split_cell("n/a", SPLITS)[1] == (
        Reason.MISSING_METADATA,
        "the column of splits is empty",
    )
    _, exclusion = read_split_cell("2", SPLITS)
    assert exclusion == (
        Reason.BAD_RECORD,
        "the column of splits says '2'; expected train, valid, test",
    )


def test_a_hash_spreads_patients_by_the_shares_and_repeats_itself() -> None:
    names = [f"patient_{n}" for n in range(4000)]
    found = [hash_split(name, SPLITS, shares=(), seed=0) for name in names]
    counts = Counter(found)
    assert [round(counts[split] / 4000, 1) for split in SPLITS] == [0.8, 0.1, 0.1]
    assert found == [hash_split(name, SPLITS, shares=(8, 1, 1), seed=0) for name in names]
    assert found != [hash_split(name, SPLITS, shares=(), seed=1) for name in names]
    assert {hash_split(name, SPLITS, shares=(0, 1, 0), seed=0) for name in names} == {"valid"}
    assert hash_split("a", ("all",), shares=(), seed=3) == "all"


def test_a_pinned_split_never_changes() -> None:
    found = [hash_split(f"p{n}", ("train", "valid"), shares=(), seed=0) for n in range(12)]
    assert "".join(split[0] for split in found) == "tvttttvtvvtt"


def test_samples_stay_in_the_split_of_the_plan() -> None:
    check_kept({"a": "train", "new": "valid"}, {"a": "train", "gone": "valid"})
    with pytest.raises(
        CatalogError, match=r"1 of train, such as a \(train, now valid\)\. A plan only grows"
    ):
        check_kept({"a": "valid"}, {"a": "train"})

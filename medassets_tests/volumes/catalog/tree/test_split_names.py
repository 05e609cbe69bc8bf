"""Names of splits: those of common datasets are read, and nothing else is taken for one."""

import pytest

from medassets.volumes.catalog.tree.split_names import is_structural, read_split_name

SPLITS = ("train", "valid")


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("Training", "train"),
        ("imagesTr", "train"),
        ("train_fixed", "train"),
        ("val", "valid"),
        ("imagesVa", "valid"),
        ("VALIDATION", "valid"),
        ("validation_set", "valid"),
        ("imagesTs", "test"),
        ("test_images", "test"),
    ],
)
def test_common_names_of_splits_are_read(name: str, split: str) -> None:
    assert read_split_name(name, SPLITS) == split


@pytest.mark.parametrize(
    "name",
    ["ts", "Tr", "test2", "trainer", "patient_test", "train_val", "p1", "", "contest", "attest"],
)
def test_other_names_are_none(name: str) -> None:
    assert read_split_name(name, SPLITS) is None


def test_a_declared_name_comes_first_and_an_alias_second() -> None:
    assert read_split_name("fold0", ("fold0", "fold1")) == "fold0"
    assert read_split_name("validation", ("train", "val")) == "val"
    assert read_split_name("val", ("valid", "val")) == "val"
    assert read_split_name("dev", ("train", "validation")) == "validation"


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("images", True),
        ("CT_scans", True),
        ("p1", False),
        ("ct1", False),
        ("s0000", False),
        ("", False),
    ],
)
def test_folders_of_a_sort_of_files_are_no_patients(folder: str, found: bool) -> None:
    assert is_structural(folder) is found

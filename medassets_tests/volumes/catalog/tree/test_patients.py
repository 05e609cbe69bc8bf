"""Patients: by folder, never by volume where a folder exists, and never in two splits unseen."""

import pytest

from medassets.errors import CatalogError
from medassets.volumes.catalog.tree.names import find_prefix
from medassets.volumes.catalog.tree.patients import (
    check_shared_folder,
    describe_leaks,
    doubt_names,
    doubt_patients,
    find_leaks,
    name_patient_folders,
)

SPLITS = ("train", "valid")


def name(*paths: str, mode: str = "auto") -> list[str | None]:
    found = name_patient_folders(paths, find_prefix(paths), splits=SPLITS, mode=mode)
    return list(found.values())


@pytest.mark.parametrize(
    ("paths", "patients"),
    [
        (["s0000/ct.nii.gz", "s0001/ct.nii.gz"], ["s0000", "s0001"]),
        (["p1/study/a.nii", "p1/b.nii", "p2/a.nii"], ["p1", "p1", "p2"]),
        (["set/train/p1/a.nii", "set/valid/p1/a.nii"], ["p1", "p1"]),
        (["train/images/p1/a.nii", "train/images/p2/a.nii"], ["p1", "p2"]),
        (["sub-01/anat/a.nii", "sub-02/anat/a.nii"], ["sub-01", "sub-02"]),
        (["imagesTr/a.nii", "imagesTs/b.nii"], [None, None]),
        (["a.nii", "p1/b.nii"], [None, "p1"]),
    ],
)
def test_the_first_folder_that_says_something_is_the_patient(
    paths: list[str], patients: list[str | None]
) -> None:
    assert name(*paths) == patients
    assert name(*paths, mode="file") == [None] * len(paths)


def test_one_folder_of_all_files_is_asked_for() -> None:
    paths = ["cohort/a.nii", "cohort/b.nii"]
    patients = name_patient_folders(paths, ("cohort",), splits=SPLITS, mode="auto")
    with pytest.raises(CatalogError, match=r"^cohort/ holds all 2 files, .*`patient_from: file`"):
        check_shared_folder(patients, ("cohort",), splits=SPLITS, mode="auto")
    check_shared_folder(patients, ("cohort",), splits=SPLITS, mode="file")
    check_shared_folder({"cohort/a.nii": None}, ("cohort",), splits=SPLITS, mode="auto")
    check_shared_folder(patients, ("train", "images"), splits=SPLITS, mode="auto")
    assert name(*paths, mode="folder") == ["cohort", "cohort"]
    assert name("images/a.nii", "images/b.nii", mode="folder") == [None, None]


def test_patients_in_several_splits_are_found_and_named() -> None:
    splits = {"a": "train", "b": "valid", "c": "valid", "d": "train"}
    leaks = find_leaks(splits, {"a": "p1", "b": "p1", "c": "p2"})
    assert leaks == {"p1": ["train", "valid"]}
    assert describe_leaks(leaks) == "1 patient is in several splits: p1 (train, valid)"
    many = {f"p{n}": ["train", "valid"] for n in range(1200)}
    assert describe_leaks(many).startswith(
        "1,200 patients are in several splits: p0 (train, valid),"
    )
    assert describe_leaks(many).endswith(" and 1,195 more")


def test_names_in_several_splits_are_a_doubt() -> None:
    splits = {"train/001.nii": "train", "valid/001.nii.gz": "valid", "train/002.nii": "train"}
    (doubt,) = doubt_names(splits)
    assert doubt.startswith("1 names of files occur in several splits (001)")
    assert doubt_names({"train/a.nii": "train", "train/b/a.nii": "train"}) == []


def test_few_folders_of_many_files_are_a_doubt() -> None:
    patients: dict[str, str | None] = {
        f"{c}/{n}.nii": c for c in ("normal", "tumor") for n in range(30)
    }
    (doubt,) = doubt_patients(patients)
    assert doubt.startswith("2 folders (normal, tumor) are taken for the patients of 60 files")
    assert doubt_patients({f"p{n}/a.nii": f"p{n}" for n in range(30)}) == []
    assert doubt_patients({"a.nii": None}) == []

"""Names in the layout of CT-RATE: of tables, volumes and their parts."""

import pytest

from medassets.specs import CTSourceSpec
from medassets.volumes.catalog.ct_rate_names import (
    VolumeName,
    name_split_long,
    parse_volume_name,
    table_paths,
    volume_path,
    volumes_pattern,
)


def test_names_of_volumes_are_taken_apart() -> None:
    assert parse_volume_name("valid_12_ab_3.nii.gz", split="valid") == VolumeName(
        key="valid_12_ab_3", patient="valid_12", scan="valid_12_ab", reconstruction=3
    )


@pytest.mark.parametrize(
    "name",
    [
        "train_12_a_3.nii",
        "train_12_a.nii.gz",
        "train_12_A_3.nii.gz",
        "valid_12_a_3.nii.gz",
        "xtrain_12_a_3.nii.gz",
        "train_12_a_3.nii.gz\n",
        "train_٣_a_3.nii.gz",
        "train_1234567890_a_3.nii.gz",
        "../train_12_a_3.nii.gz",
        "",
    ],
)
def test_another_name_is_no_volume_of_the_split(name: str) -> None:
    assert parse_volume_name(name, split="train") is None


def test_a_split_is_taken_to_the_letter() -> None:
    assert parse_volume_name("trainX_12_a_3.nii.gz", split="train.") is None


def test_a_volume_is_in_the_folder_of_its_scan() -> None:
    name = parse_volume_name("train_5_b_11.nii.gz", split="train")
    assert name is not None
    for pattern in ("dataset/{split}_fixed", "dataset/{split}_fixed/"):
        path = volume_path(name, volumes_dir=pattern, split="train")
        assert path == "dataset/train_fixed/train_5/train_5_b/train_5_b_11.nii.gz"


def test_the_folder_of_volumes_is_that_of_ct_rate_unless_declared() -> None:
    assert volumes_pattern(CTSourceSpec(name="ct")) == "dataset/{split}_fixed"
    assert volumes_pattern(CTSourceSpec(name="ct", volumes_dir="v/{split}")) == "v/{split}"


def test_two_tables_call_the_split_valid_by_its_long_name() -> None:
    assert [name_split_long(split) for split in ("train", "valid")] == ["train", "validation"]
    paths = table_paths("valid")
    assert paths.metadata == "dataset/metadata/validation_metadata.csv"
    assert paths.reports == "dataset/radiology_text_reports/validation_reports.csv"
    assert paths.labels == "dataset/multi_abnormality_labels/valid_predicted_labels.csv"
    assert paths.no_chest == "dataset/metadata/no_chest_valid.txt"

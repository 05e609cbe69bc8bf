"""The layout of CT-RATE as a source, in a folder and on a hub."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import CatalogError
from medassets.samples import SourceItem
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets.volumes.catalog.ct_rate_names import table_paths
from medassets.volumes.catalog.ct_tables import LABEL_NAMES
from medassets_tests.datasets.ct_sources.contract import VolumeSourceContract, find_source


def list_text_tables(folder: Path) -> list[Path]:
    paths = table_paths("train")
    return [folder / paths.reports, folder / paths.labels]


def read_stored(path: Path) -> np.ndarray:
    image: Any = nib.load(path)
    return np.asarray(image.dataobj.get_unscaled())


class TestCTRateFolder(VolumeSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        made = make_ct_rate_repository(folder, num_patients=2, splits=("train",))
        return {"source": "folder", "folder": str(made.folder)}

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(Path(fields["folder"]) / item.path)

    def test_tables_of_reports_and_labels_may_be_missing(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        for path in list_text_tables(Path(fields["folder"])):
            path.unlink()
        self.check_without_texts(fields, tmp_path)

    def test_a_split_without_a_table_of_labels_has_those_of_the_others_all_unknown(
        self, tmp_path: Path
    ) -> None:
        made = make_ct_rate_repository(tmp_path / "two", num_patients=1)
        (made.folder / table_paths("train").labels).unlink()
        (made.folder / table_paths("train").reports).unlink()
        spec = VolumeDatasetSpec(name="ct", source="folder", folder=str(made.folder), requires=())
        source = open_volume_source(spec)
        rows = source.read_rows(source.open_files(), revision=None).to_pylist()
        train, valid = (
            [row for row in rows if row["split"] == split and row["excluded"] is None]
            for split in ("train", "valid")
        )
        assert {tuple(row["label_names"]) for row in rows} == {LABEL_NAMES}
        assert {tuple(row["labels"]) for row in train} == {(None,) * 18}
        assert all(None not in row["labels"] for row in valid)
        assert {row["report"] for row in train} == {None}

    def test_one_message_names_all_that_a_folder_of_volumes_lacks(self, tmp_path: Path) -> None:
        made = make_ct_rate_repository(tmp_path / "two", num_patients=1)
        for name in ("metadata", "radiology_text_reports", "multi_abnormality_labels"):
            shutil.rmtree(made.folder / "dataset" / name)
        shutil.rmtree(made.folder / "dataset" / "valid_fixed")
        spec = VolumeDatasetSpec(name="ct", source="folder", folder=str(made.folder))
        workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
        with pytest.raises(CatalogError) as caught:
            draft_catalog(workspace)
        first, *lines, remedy = str(caught.value).splitlines()
        assert first == f"{made.folder}: `layout: ct_rate` needs, and does not find:"
        assert [line.split(",")[0].strip() for line in lines] == [
            "dataset/metadata/train_metadata.csv",
            "dataset/radiology_text_reports/train_reports.csv",
            "dataset/multi_abnormality_labels/train_predicted_labels.csv",
            "dataset/metadata/no_chest_train.txt (empty where every volume shows a chest)",
            "dataset/metadata/validation_metadata.csv",
            "dataset/radiology_text_reports/validation_reports.csv",
            "dataset/multi_abnormality_labels/valid_predicted_labels.csv",
            "dataset/metadata/no_chest_valid.txt (empty where every volume shows a chest)",
            "dataset/valid_fixed/",
        ]
        assert "`layout: tree` takes any folders of .nii and .nii.gz files" in remedy

    def test_missing_columns_of_all_tables_are_named_together(self, tmp_path: Path) -> None:
        made = make_ct_rate_repository(tmp_path / "one", num_patients=1, splits=("train",))
        paths = table_paths("train")
        for path, column in ((paths.metadata, "ZSpacing"), (paths.reports, "Findings_EN")):
            table = made.folder / path
            table.write_text(table.read_text("utf-8").replace(column, "Other"), "utf-8")
        spec = VolumeDatasetSpec(
            name="ct", source="folder", folder=str(made.folder), splits=("train",)
        )
        source = open_volume_source(spec)
        expected = rf"{paths.metadata}, row 1, column ZSpacing\n  {paths.reports}, row 1, column Findings_EN\n"
        with pytest.raises(CatalogError, match=expected):
            source.read_rows(source.open_files(), revision=None)


class TestCTRateHub(VolumeSourceContract):
    required = ("repo_id",)

    def make(self, folder: Path) -> dict[str, Any]:
        made = make_ct_rate_repository(folder, num_patients=2, splits=("train",))
        self.folder = made.folder
        return {"source": "huggingface", "repo_id": "org/ct"}

    @pytest.fixture
    def fields(self, tmp_path: Path) -> Iterator[dict[str, Any]]:
        made = make_ct_rate_repository(tmp_path / "source", num_patients=2, splits=("train",))
        self.folder = made.folder
        with LocalHub(made.folder, "org/ct") as hub:
            yield {
                "source": "huggingface",
                "repo_id": "org/ct",
                "endpoint": hub.endpoint,
                "use_token": False,
                "splits": ("train",),
                "hu_rule": "none",
                "max_rejected_share": 1.0,
                "max_excluded_share": 1.0,
            }

    def read_expected(self, fields: dict[str, Any], item: SourceItem) -> np.ndarray:
        return read_stored(self.folder / item.path)

    def test_one_message_names_all_that_a_repository_lacks(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        splits = {"splits": ("train", "test")}
        source = find_source(self.open({**fields, **splits}, tmp_path).kind)
        files = source.open_files()
        with pytest.raises(CatalogError, match=r"^hf://datasets/org/ct: .*\n.*test_metadata.csv"):
            source.read_rows(files, revision=files.resolve_revision())

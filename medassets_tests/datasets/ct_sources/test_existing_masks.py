"""Existing masks as a source: items of several files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.datasets.ct_sources.existing_masks import ExistingMasks
from medassets.datasets.registry import open_kind
from medassets.errors import SpecError
from medassets.specs import STANDARD_WINDOWS, CTWindowDatasetSpec, VolumeDatasetSpec
from medassets.volumes.windows.masks import name_window_file
from medassets_tests.datasets.ct_sources.contract import CTSourceContract, stage_all


class TestExistingMasks(CTSourceContract):
    def make(self, folder: Path) -> dict[str, Any]:
        for number, case in enumerate(("case_1", "case_2")):
            windows = folder / "processed" / case / "windows"
            windows.mkdir(parents=True)
            mask = np.random.default_rng(number).random((8, 9, 10)) < 0.3
            for window in STANDARD_WINDOWS.values():
                np.save(windows / name_window_file(window), mask)
        return {"source": "processed", "folder": str(folder)}

    def test_a_case_has_one_file_per_window(self, fields: dict[str, Any], tmp_path: Path) -> None:
        for item, staged in stage_all(self.open(fields, tmp_path)):
            assert item.path == item.row["window_paths"][0]
            assert len(staged.others) == len(STANDARD_WINDOWS) - 1

    def test_a_case_without_one_of_its_files_is_rejected(
        self, fields: dict[str, Any], tmp_path: Path
    ) -> None:
        workspace = self.open(fields, tmp_path)
        (item, _), *_ = stage_all(workspace)
        gone = Path(fields["folder"]) / item.row["window_paths"][-1]
        gone.unlink()
        staged = workspace.stage([item])[item.key]
        assert f"{item.row['window_paths'][-1]} does not exist" in str(staged)


def test_masks_are_no_source_of_volumes() -> None:
    with pytest.raises(SpecError, match=r"^source: expected one of huggingface, .*, got 'proc"):
        open_kind(VolumeDatasetSpec(name="ct", source="processed", folder="/data"))


def test_masks_have_one_split() -> None:
    spec = CTWindowDatasetSpec(name="ct", source="processed", folder="/data")
    with pytest.raises(SpecError, match=r"^splits: source processed has one split"):
        ExistingMasks(spec).check()

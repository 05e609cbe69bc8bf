"""Fixtures of exports: an empty dataset, and one of two shards with its export."""

from pathlib import Path

import pytest

from medassets.exports.formats import ExportResult
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import TRAIN, VAL, export, make_shard


@pytest.fixture
def paths(tmp_path: Path) -> DatasetPaths:
    """Names of an empty dataset's frames."""
    return DatasetPaths(tmp_path / "data", "tiny", "frames")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Folder of the export; it does not exist yet."""
    return tmp_path / "export"


@pytest.fixture
def exported(paths: DatasetPaths, out: Path) -> ExportResult:
    """Shards of `TRAIN` and `VAL`, exported for the CLIP4MC trainer."""
    make_shard(paths, "train-000000", TRAIN)
    make_shard(paths, "val-000000", VAL)
    return export(paths, out)

"""An empty dataset for every test of an export."""

from pathlib import Path

import pytest

from medassets.storage.paths import DatasetPaths


@pytest.fixture
def paths(tmp_path: Path) -> DatasetPaths:
    """Names of an empty dataset's frames."""
    return DatasetPaths(tmp_path / "data", "tiny", "frames")

"""What is said when Dagster's database cannot be used."""

from pathlib import Path

import pytest
import sqlalchemy.exc

from medassets.errors import DiskSpaceError
from medassets.instance.database import database_trouble_explained


def test_a_full_disk_is_told_with_the_free_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    refused = sqlalchemy.exc.OperationalError("INSERT", (), Exception("disk is full"))
    with (
        pytest.raises(DiskSpaceError, match=r"disk is full\), [0-9,]+ bytes are free there"),
        database_trouble_explained(),
    ):
        raise refused

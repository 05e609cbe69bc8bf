"""What a server does for its home now and then."""

from pathlib import Path

import pytest

from medassets.instance import housekeeping
from medassets.instance.home import make_instance
from medassets.instance.housekeeping import keeping_house
from medassets.instance.log_rotation import MOST_BYTES


def test_a_long_log_is_rotated_at_once_and_trouble_is_told(home: Path) -> None:
    log = make_instance() / "daemon.log"
    log.write_bytes(bytes(MOST_BYTES + 1))
    (home / "dagster" / "history" / "runs.db").write_text("no database")
    told: list[str] = []
    with keeping_house(log, keep_days=30, tell=told.append):
        pass
    assert log.stat().st_size == 0
    assert told == [
        "sensors are not revived after a change of the clock: file is not a database",
        "logs of old runs are not removed: file is not a database",
    ]


def test_nothing_is_purged_where_all_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[object] = []
    monkeypatch.setattr(housekeeping, "_purge", pytest.fail)
    monkeypatch.setattr(housekeeping, "_revive", begun.append)
    with keeping_house(tmp_path / "daemon.log", keep_days=0, tell=pytest.fail):
        pass
    assert begun == [pytest.fail], "sensors are revived when a server begins"

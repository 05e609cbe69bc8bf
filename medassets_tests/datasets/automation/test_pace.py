"""How long automation waits."""

import pytest

from medassets.datasets.automation.pace import VARIABLE, Pace
from medassets.errors import UsageError


def test_a_failure_is_tried_again_after_10_minutes_an_hour_and_6_hours_and_then_left() -> None:
    waits = [Pace().after_failure(n) for n in (1, 2, 3, 4, 5)]
    assert waits == [600.0, 3600.0, 21600.0, None, None]


def test_a_killed_try_is_repeated_at_once_and_then_more_and_more_slowly() -> None:
    assert [Pace().after_kill(n) for n in (1, 2, 3, 4, 5)] == [0.0, 600.0, 3600.0, 21600.0, 21600.0]


def test_a_source_that_is_away_is_looked_at_every_ten_minutes_at_least() -> None:
    assert [Pace().between_looks(n) for n in (1, 2, 3, 50)] == [120.0, 300.0, 600.0, 600.0]


def test_the_environment_shortens_the_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "1, 2.5")
    assert Pace.from_environment() == Pace((1.0, 2.5))
    monkeypatch.delenv(VARIABLE)
    assert Pace.from_environment() == Pace()


@pytest.mark.parametrize("text", ["soon", "0", "-1", "1,,2", "nan", "inf"])
def test_waits_that_are_no_seconds_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(UsageError, match="MEDASSETS_RETRY_SECONDS: expected seconds such as"):
        Pace.from_environment()

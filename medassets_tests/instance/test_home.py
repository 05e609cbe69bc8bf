"""The folder of the instance: made where it is missing, and named where it cannot be used."""

from pathlib import Path

import dagster as dg
import pytest

from medassets.errors import UsageError
from medassets.instance.home import ensure_dagster_home, make_instance, open_instance


def test_a_home_is_made_with_the_shipped_settings(home: Path) -> None:
    assert make_instance() == home / "dagster"
    with dg.DagsterInstance.get() as instance:
        assert instance.root_directory == str(home / "dagster")
        assert not instance.telemetry_enabled


def test_the_environment_names_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "own"))
    assert ensure_dagster_home() == tmp_path / "own"
    assert (tmp_path / "own" / "dagster.yaml").is_file()


def test_a_home_that_cannot_be_written_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MEDASSETS_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(UsageError, match="MEDASSETS_HOME: cannot keep a Dagster instance in "):
        ensure_dagster_home()


@pytest.mark.parametrize("text", ["telemetry: [", "telemetri: {enabled: false}"])
def test_settings_that_dagster_does_not_accept_are_named(home: Path, text: str) -> None:
    file = home / "dagster" / "dagster.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text)
    with pytest.raises(UsageError, match=f"{file}: Dagster cannot use it: "):
        open_instance()

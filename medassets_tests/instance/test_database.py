"""What is said when Dagster's database cannot be used."""

import sys
from pathlib import Path

import pytest
import sqlalchemy.exc

from medassets.errors import DatabaseError, DiskSpaceError, UsageError
from medassets.instance.database import database_trouble_explained, describe_error
from medassets.instance.home import open_instance


def refuse(text: str) -> sqlalchemy.exc.OperationalError:
    return sqlalchemy.exc.OperationalError("INSERT", (), Exception(text))


def test_a_full_disk_is_told_with_the_free_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    error = refuse("disk is full")
    with (
        pytest.raises(DiskSpaceError, match=r"disk is full\), [0-9,]+ bytes are free there"),
        database_trouble_explained(),
    ):
        raise error


def test_a_silent_postgresql_is_told_as_such(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: x}}")
    error = refuse("connection refused")
    with (
        pytest.raises(DatabaseError, match=r"does not answer \(connection refused\)"),
        database_trouble_explained(),
    ):
        raise error


def test_the_cause_is_named_and_not_its_statement() -> None:
    outer = RuntimeError("too many retries")
    outer.__cause__ = refuse("connection refused\nIs the server running?")
    assert describe_error(outer) == "connection refused"
    assert describe_error(ValueError()) == "ValueError"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_an_address_without_its_driver_is_explained(home: Path, scheme: str) -> None:
    folder = home / "dagster"
    folder.mkdir(parents=True)
    url = f"{scheme}://nobody@127.0.0.1:1/runs"
    (folder / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{url}'}}}}")
    with pytest.raises(UsageError, match=r"begins with postgresql\+psycopg2:// there"):
        open_instance()


def test_statements_of_unwritten_events_are_not_printed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with database_trouble_explained():
        unwritten = (
            "Exception while writing logger call to event log: disk is full\n[SQL: INSERT]\n"
        )
        sys.stderr.write(unwritten)
        print("said", file=sys.stderr, flush=True)  # noqa: T201
        assert sys.stderr.isatty() is False
        assert sys.stderr.encoding
    assert capsys.readouterr().err == "said\n"

"""What is said when Dagster's database cannot be used."""

import logging
import sys
from pathlib import Path

import pytest
import sqlalchemy.exc

from medassets.errors import DatabaseError, DiskSpaceError, UsageError
from medassets.instance import database
from medassets.instance.database import (
    database_trouble_explained,
    describe_error,
    explain_unopened,
    retries_told_once,
)
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


def retried(text: str) -> RuntimeError:
    """What Dagster raises after it has asked again several times."""
    outer = RuntimeError("too many retries")
    outer.__cause__ = refuse(text)
    return outer


def test_a_postgresql_that_is_away_is_no_wrong_use(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("storage: {postgres: {postgres_url: x}}")
    for error in (refuse("refused"), retried("refused")):
        found = explain_unopened(tmp_path, error)
        assert isinstance(found, DatabaseError)
        assert (
            str(found) == f"{tmp_path}/dagster.yaml: Dagster's database does not answer (refused)"
        )


def test_a_database_that_a_full_disk_closes_names_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(explain_unopened(tmp_path, refuse("malformed")), UsageError)
    monkeypatch.setattr(database, "free_bytes", lambda _: 4096)
    found = explain_unopened(tmp_path, refuse("disk I/O error"))
    assert isinstance(found, DiskSpaceError)
    assert "(disk I/O error): 4,096 bytes are free there; free room" in str(found)


def test_tries_of_the_database_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with retries_told_once():
        for _ in range(3):
            logging.warning("Retrying failed database connection: %s", "SELECT\n1")
        logging.warning("another")
    logging.warning("Retrying failed database connection: %s", "later")
    assert [record.getMessage() for record in caplog.records] == [
        "Dagster's database does not answer; asking again",
        "another",
        "Retrying failed database connection: later",
    ]


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

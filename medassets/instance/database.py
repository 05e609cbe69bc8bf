"""Dagster's database: names it in the errors that its driver raises."""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from pathlib import Path
from typing import Any, TextIO, cast

import sqlalchemy.exc

from medassets.errors import DatabaseError, DiskSpaceError, MedassetsError, UsageError
from medassets.storage.disk import free_bytes

_UNWRITTEN = "Exception while writing logger call to event log: "
_RETRYING = "Retrying failed database"
_LEAST_FREE_BYTES = 1 << 20
"""SQLite opens no database on a disk with less room than this."""
_HINT = "; an address of PostgreSQL begins with postgresql+psycopg2:// there"


def list_database_errors() -> tuple[type[Exception], ...]:
    """Return what the drivers of databases raise when an instance is opened or used."""
    kinds: list[type[Exception]] = [sqlalchemy.exc.SQLAlchemyError, ImportError]
    with suppress(ImportError):
        from dagster_postgres.utils import DagsterPostgresException

        kinds.append(DagsterPostgresException)
    return tuple(kinds)


def describe_error(error: Exception) -> str:
    """Say in one line what a database refuses, with a remedy where one is known."""
    # After its retries, Dagster raises an error of its own that says nothing else.
    cause = error.__cause__ if isinstance(error.__cause__, sqlalchemy.exc.DBAPIError) else error
    lines = str(getattr(cause, "orig", cause)).strip().splitlines()
    text = lines[0] if lines else type(error).__name__
    # Without a driver in the address SQLAlchemy takes psycopg 3, or knows no such database.
    wrong_driver = "'psycopg'" in text or "sqlalchemy.dialects:postgres" in text
    return text + (_HINT if wrong_driver else "")


def explain_unopened(home: Path, error: Exception) -> MedassetsError:
    """Return the error of an instance whose database cannot be opened.

    Args:
        home: Folder of the instance.
        error: What its driver raised.
    """
    cause, settings = describe_error(error), home / "dagster.yaml"
    root = error.__cause__ if error.__cause__ is not None else error
    if isinstance(root, sqlalchemy.exc.OperationalError) and _is_postgres(home):
        return DatabaseError(f"{settings}: Dagster's database does not answer ({cause})")
    free = free_bytes(home)
    if isinstance(root, sqlalchemy.exc.OperationalError) and free < _LEAST_FREE_BYTES:
        msg = f"{home}: Dagster cannot open its database ({cause}): {free:,} bytes are free there"
        return DiskSpaceError(f"{msg}; free room and run again")
    return UsageError(field=str(settings), what=f"Dagster cannot open its database: {cause}")


@contextmanager
def retries_told_once() -> Iterator[None]:
    """Tell once that the database is asked again; Dagster prints each try with its whole error."""
    told: list[bool] = []

    def shorten(record: logging.LogRecord) -> bool:
        if not str(record.msg).startswith(_RETRYING):
            return True
        record.msg, record.args = "Dagster's database does not answer; asking again", ()
        told.append(True)
        return len(told) == 1

    root = logging.getLogger()
    root.addFilter(shorten)
    try:
        yield
    finally:
        root.removeFilter(shorten)


@contextmanager
def database_trouble_explained() -> Iterator[None]:
    """Name the instance when its database cannot be used.

    Raises:
        DiskSpaceError: If a database in files refused an operation; the usual cause is a full disk.
        DatabaseError: If PostgreSQL does not answer.
    """
    try:
        quiet = redirect_stderr(cast("TextIO", _WithoutStatements(sys.stderr)))
        with quiet, retries_told_once():
            yield
    except list_database_errors() as error:
        home = Path(os.environ["DAGSTER_HOME"])
        cause = describe_error(error)
        if _is_postgres(home):
            msg = (
                f"{home}: Dagster's database does not answer ({cause}). Published "
                f"shards are whole; run again when it does"
            )
            raise DatabaseError(msg) from error
        if not isinstance(error, sqlalchemy.exc.OperationalError):
            raise
        msg = (
            f"{home}: Dagster's database cannot be used ({cause}), {free_bytes(home):,} "
            f"bytes are free there. Published shards are whole; free room and run again"
        )
        raise DiskSpaceError(msg) from error


class _WithoutStatements:
    """A stream without what Dagster prints of an event that it could not write.

    It prints the SQL statement with all its values, and then raises the error, which is told.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return len(text) if text.startswith(_UNWRITTEN) else self._stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _is_postgres(home: Path) -> bool:
    settings = home / "dagster.yaml"
    return settings.is_file() and b"postgres" in settings.read_bytes()

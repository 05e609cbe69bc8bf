"""PostgreSQL as the database of an instance: its address as users type it, and whether it answers."""

import importlib.util

import sqlalchemy as sa
import sqlalchemy.exc

from medassets.errors import UsageError

_DRIVER = "postgresql+psycopg2"
_CONNECT_S = 10


def read_url(typed: str, *, field: str) -> sa.URL:
    """Return the address of a database with the one driver that Dagster works with.

    `postgres://` is no name that SQLAlchemy knows, and `postgresql://` takes psycopg 3, with which
    every event that Dagster writes fails.

    Args:
        typed: Address such as ``postgresql://user@host/database``.
        field: What it was given as, for messages.

    Raises:
        UsageError: If it is not an address of PostgreSQL.
    """
    try:
        url = sa.make_url(typed)
    except (sqlalchemy.exc.ArgumentError, ValueError) as error:
        what = "expected postgresql://USER@HOST/DATABASE"
        raise UsageError(field=field, what=what) from error
    if url.drivername not in ("postgres", "postgresql", _DRIVER):
        what = f"expected postgresql://USER@HOST/DATABASE, got {url.drivername}://…"
        raise UsageError(field=field, what=what)
    return url.set(drivername=_DRIVER)


def check_url(url: sa.URL, *, field: str) -> None:
    """Connect to a database once.

    Raises:
        UsageError: If the packages for PostgreSQL are missing, or the database does not answer.
    """
    missing = [name for name in ("dagster_postgres", "psycopg2") if not _is_installed(name)]
    if missing:
        what = f'{" and ".join(missing)} is missing: pip install "medassets[postgres]"'
        raise UsageError(field=field, what=what)
    engine = sa.create_engine(
        url, poolclass=sa.pool.NullPool, connect_args={"connect_timeout": _CONNECT_S}
    )
    try:
        with engine.connect():
            pass
    except sqlalchemy.exc.OperationalError as error:
        what = f"cannot connect to {hide_password(url)}: {str(error.orig).strip()}"
        raise UsageError(field=field, what=what) from error


def hide_password(url: sa.URL) -> str:
    """Return an address as it may be shown."""
    return url.render_as_string(hide_password=True)


def _is_installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None

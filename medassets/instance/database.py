"""Dagster's database: names it in the errors that its driver raises."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy.exc

from medassets.errors import DiskSpaceError
from medassets.storage.disk import free_bytes


@contextmanager
def database_trouble_explained() -> Iterator[None]:
    """Name the instance when its database cannot be used; the usual cause is a full disk.

    Raises:
        DiskSpaceError: If the database refused an operation.
    """
    try:
        yield
    except sqlalchemy.exc.OperationalError as error:
        home = os.environ["DAGSTER_HOME"]
        msg = (
            f"{home}: Dagster's database cannot be used ({error.orig}), {free_bytes(Path(home)):,} "
            f"bytes are free there. Published shards are whole; free room and run again"
        )
        raise DiskSpaceError(msg) from error

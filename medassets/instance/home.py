"""The folder of the Dagster instance, and the instance that commands open in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import yaml

from medassets.errors import ForeignFileError, UsageError
from medassets.instance.database import (
    explain_unopened,
    list_database_errors,
    retries_told_once,
)
from medassets.instance.killed_runs import fail_killed_runs
from medassets.instance.postgres import check_url, read_url
from medassets.instance.settings import write_settings
from medassets.storage.locks import lock_file
from medassets.storage.paths import dagster_home, local_path

# Dagster would take over standard error during a step, progress bar and all, and start four
# processes to show it again a second later.
_NO_CAPTURE = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}
_LOCK_NAME = ".opening.lock"


def ensure_dagster_home() -> Path:
    """Return the instance's folder, with a `dagster.yaml` of this version or the user's own.

    `DAGSTER_HOME` of the environment wins; the variable is set for this process and its children.

    Raises:
        UsageError: If the folder cannot be written, or a URL is named as one.
    """
    own = os.environ.get("DAGSTER_HOME")
    home = local_path(own, field="DAGSTER_HOME") if own else dagster_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_settings(home)
    except OSError as error:
        variable = "DAGSTER_HOME" if own else "MEDASSETS_HOME"
        what = f"cannot keep a Dagster instance in {home}: {error.strerror}"
        raise UsageError(field=variable, what=what) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def use_postgres(home: Path, typed: str) -> None:
    """Note PostgreSQL as the database of a home; every later command uses it.

    Args:
        home: Folder of the instance; no server runs for it.
        typed: Address of the database.

    Raises:
        UsageError: If it is no address, the database does not answer, or `dagster.yaml` is the
            user's own.
    """
    url = read_url(typed, field="--postgres")
    check_url(url, field="--postgres")
    text = url.render_as_string(hide_password=False)
    try:
        write_settings(home, postgres_url=text)
    except ForeignFileError as error:
        file = home / "dagster.yaml"
        what = f"{file} is yours; write `storage: {{postgres: {{postgres_url: …}}}}` there"
        raise UsageError(field="--postgres", what=what) from error


def make_instance() -> Path:
    """Return the instance's folder with its databases made, before several processes open them.

    Dagster's SQLite storage makes its tables when it is first opened; two processes that do so at
    once leave a database that neither can open again.

    Raises:
        UsageError: If its folder cannot be written, or its settings or its database are wrong.
        DatabaseError: If PostgreSQL does not answer.
        DiskSpaceError: If the disk is full.
    """
    home = ensure_dagster_home()
    with _opening(home), dg.DagsterInstance.get():
        return home


def open_instance() -> dg.DagsterInstance:
    """Return the persistent instance for a command that executes runs in its own process.

    Raises:
        UsageError: If its folder cannot be written, or its settings or its database are wrong.
        DatabaseError: If PostgreSQL does not answer.
        DiskSpaceError: If the disk is full.
    """
    home = ensure_dagster_home()
    with _opening(home):
        # Of the public ways to open a persistent instance only this one takes overrides; with a
        # folder given, it makes nothing temporary.
        instance = dg.DagsterInstance.local_temp(str(home), overrides=_NO_CAPTURE)
        fail_killed_runs(instance)
        return instance


@contextmanager
def _opening(home: Path) -> Iterator[None]:
    """Open an instance in the block, one process at a time; name its settings if that fails."""
    try:
        with lock_file(home / _LOCK_NAME), retries_told_once():
            yield
    except (dg.DagsterError, yaml.YAMLError) as error:
        what = f"Dagster cannot use it: {error}"
        raise UsageError(field=str(home / "dagster.yaml"), what=what) from error
    except list_database_errors() as error:
        raise explain_unopened(home, error) from error

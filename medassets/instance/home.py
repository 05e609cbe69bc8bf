"""The folder of the Dagster instance, and the instance that commands open in it."""

import os
from pathlib import Path

import dagster as dg
import yaml

from medassets.errors import UsageError
from medassets.instance.killed_runs import fail_killed_runs
from medassets.instance.settings import write_settings
from medassets.storage.locks import lock_file
from medassets.storage.paths import dagster_home

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
        UsageError: If the folder cannot be written.
    """
    own = os.environ.get("DAGSTER_HOME")
    home = Path(own).absolute() if own else dagster_home()
    try:
        home.mkdir(parents=True, exist_ok=True)
        write_settings(home)
    except OSError as error:
        variable = "DAGSTER_HOME" if own else "MEDASSETS_HOME"
        what = f"cannot keep a Dagster instance in {home}: {error.strerror}"
        raise UsageError(field=variable, what=what) from error
    os.environ["DAGSTER_HOME"] = str(home)
    return home


def make_instance() -> Path:
    """Return the instance's folder with its databases made, before several processes open them.

    Dagster's SQLite storage makes its tables when it is first opened; two processes that do so at
    once leave a database that neither can open again.
    """
    home = ensure_dagster_home()
    with lock_file(home / _LOCK_NAME), dg.DagsterInstance.get():
        return home


def open_instance() -> dg.DagsterInstance:
    """Return the persistent instance for a command that executes runs in its own process.

    Raises:
        UsageError: If its folder cannot be written, or its `dagster.yaml` is wrong.
    """
    home = ensure_dagster_home()
    try:
        with lock_file(home / _LOCK_NAME):
            # Of the public ways to open a persistent instance only this one takes overrides;
            # with a folder given, it makes nothing temporary.
            instance = dg.DagsterInstance.local_temp(str(home), overrides=_NO_CAPTURE)
            fail_killed_runs(instance)
            return instance
    except (dg.DagsterError, yaml.YAMLError) as error:
        raise UsageError(
            field=str(home / "dagster.yaml"), what=f"Dagster cannot use it: {error}"
        ) from error

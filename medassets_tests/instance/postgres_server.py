"""A PostgreSQL server of the test's own, from the system's packages, on a socket in a folder."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from medassets.errors import UsageError
from medassets.instance.postgres import check_url, read_url
from medassets_tests.cli.waiting import wait_until

_USER = "nobody"
"""PostgreSQL refuses to run as root; a test that runs as root starts it as this user."""


def find_program(name: str) -> str:
    """Return the path of a program of PostgreSQL; without it, skip the test and say so."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ["PATH"], *map(str, folders)])
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"no PostgreSQL server: {name} is not installed (apt-get install postgresql)")
    return found


@contextmanager
def running_postgres() -> Iterator[str]:
    """Run a server until the block is left; yield its address as a user types it."""
    initdb, postgres = find_program("initdb"), find_program("postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if os.getuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = str(folder / "data")
        create = [initdb, "-D", data, "-U", "medassets", "-A", "trust", "-N"]
        subprocess.run(_as_user(create), capture_output=True, cwd="/", check=True)
        serve = [postgres, "-D", data, "-k", str(folder), "-c", "listen_addresses=", "-F"]
        url = f"postgresql://medassets@/postgres?host={folder}"
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(_as_user(serve), stdout=log, stderr=log, cwd="/")
        try:
            wait_until(lambda: _answers(url))
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)
            server.wait(120)
    finally:
        shutil.rmtree(folder)


def _answers(url: str) -> bool:
    try:
        check_url(read_url(url, field="url"), field="url")
    except UsageError:
        return False
    return True


def _as_user(command: list[str]) -> list[str]:
    if os.getuid() != 0:
        return command
    user = pwd.getpwnam(_USER)
    ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
    return ["setpriv", *ids, *command]

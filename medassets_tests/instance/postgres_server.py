"""A PostgreSQL server of the test's own, from the system's packages, on a socket in a folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

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
    initdb, pg_ctl = find_program("initdb"), find_program("pg_ctl")
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if os.getuid() == 0:
            user = pwd.getpwnam(_USER)
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = str(folder / "data")
        _run([initdb, "-D", data, "-U", "medassets", "-A", "trust", "-N"])
        options = f"-c listen_addresses='' -c fsync=off -k {folder}"
        _run([pg_ctl, "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start"])
        try:
            yield f"postgresql://medassets@/postgres?host={folder}"
        finally:
            _run([pg_ctl, "-D", data, "-m", "immediate", "-w", "stop"])
    finally:
        shutil.rmtree(folder)


def _run(command: list[str]) -> None:
    if os.getuid() == 0:
        user = pwd.getpwnam(_USER)
        ids = [f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        command = ["setpriv", *ids, *command]
    # The server inherits the standard streams; a pipe would never end.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(command, stdout=output, stderr=output, cwd="/", check=False)
        output.seek(0)
        assert done.returncode == 0, output.read().decode()

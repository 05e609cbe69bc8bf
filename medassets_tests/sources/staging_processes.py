"""Helpers that stage files of a local hub in other processes."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from medassets.sources.base import RemoteFile
from medassets.sources.hub import HubSource
from medassets.sources.staging import Staging
from medassets.testing.hub import LocalHub

A, B = "vol/a.nii.gz", "vol/b c.nii.gz"

CHILD = """
import sys
from pathlib import Path
from medassets.sources.hub import HubPolicy, HubSource
from medassets.sources.staging import Staging
endpoint, revision, folder, budget, *paths = sys.argv[1:]
source = HubSource("org/ct-small", revision=revision, endpoint=endpoint, token=False)
staging = Staging(Path(folder), budget_bytes=int(budget))
for _ in range(1 if "once" in paths else 3):
    wanted = [path for path in paths if path != "once"]
    staged = staging.stage(source, list(source.describe(wanted, revision=None).values()))
    assert all(hasattr(file, "sha256") for file in staged.values()), staged
    print("staged", flush=True)
    if "once" in paths:
        sys.stdin.readline()
    staging.release(wanted)
"""


@contextlib.contextmanager
def child(hub: LocalHub, staging: Staging, *paths: str) -> Iterator["subprocess.Popen[str]"]:
    """Run another process that stages paths, holds them until it is told to go on, releases."""
    arguments = [hub.endpoint, hub.sha, str(staging.folder), str(staging.budget_bytes), *paths]
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def read_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def describe(source: HubSource, *paths: str) -> list[RemoteFile]:
    return list(source.describe(paths, revision=None).values())


def list_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def wait_for(condition: Callable[[], object]) -> None:
    """Wait until a condition holds, ten seconds at most."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)

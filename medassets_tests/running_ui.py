"""A real `medassets up`, with its daemon and code servers, for the tests of several rooms."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psutil


@dataclass(frozen=True)
class RunningUi:
    """A running `medassets up`."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client

    @property
    def port(self) -> int:
        """The port it listens on."""
        port = self.client.base_url.port
        assert port is not None
        return port

    def ask(self, document: str, **variables: object) -> dict[str, Any]:
        """Execute a GraphQL operation as the UI's own pages do, and return its data."""
        body = {"query": document, "variables": variables}
        answer = self.client.post("/graphql", json=body).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def descendants(self) -> list[psutil.Process]:
        """Return all processes that it has started."""
        return psutil.Process(self.process.pid).children(recursive=True)


@contextmanager
def run_ui(home: Path, *options: str, **environment: str) -> Iterator[RunningUi]:
    """Run `medassets up` on a home folder, with options and variables, until the block is left."""
    command = [sys.executable, "-m", "medassets", "up", "--port", "0", *options]
    env = {**os.environ, "MEDASSETS_HOME": str(home), "PYTHONUNBUFFERED": "1", **environment}
    log = home.parent / "ui.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output, cwd=home.parent)
    started: list[psutil.Process] = []
    try:
        address = _wait_for_address(process, log)
        started = psutil.Process(process.pid).children(recursive=True)
        with httpx2.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield RunningUi(process, client)
    finally:
        process.terminate()
        process.wait(120)
        for left in started:
            with suppress(psutil.NoSuchProcess):
                left.kill()


def _wait_for_address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 400
    while time.monotonic() < deadline and process.poll() is None:
        if found := re.search(r"http://(?:127\.0\.0\.1|0\.0\.0\.0):\d+", log.read_text()):
            return found[0]
        time.sleep(0.1)
    raise AssertionError(log.read_text())

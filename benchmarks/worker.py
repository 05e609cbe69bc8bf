"""A process that runs one method whenever it is told to, and says what that cost.

Own processes keep the methods' memory apart; the parent takes turns among them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np


@dataclass(frozen=True)
class Cost:
    """What one run took."""

    wall_s: float
    cpu_s: float


class Process:
    """The parent's end of a process that answers every line with one of JSON; a context manager.

    Args:
        command: What starts it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # One thread each: CPU seconds of pools that spin while they wait mean nothing.
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate("")

    def ask(self, request: str) -> dict[str, Any]:
        """Return the answer to one line.

        Raises:
            RuntimeError: If the process has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(request + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            msg = f"{self._process.args}: ended with {self._process.wait()} at {request!r}"
            raise RuntimeError(msg)
        return json.loads(answer)


class Worker(Process):
    """A process that runs one method.

    Args:
        method: Name in `METHODS`.
        path: Volume to preprocess.
    """

    def __init__(self, method: str, path: Path) -> None:
        super().__init__([sys.executable, "-m", "benchmarks.worker", method, str(path)])

    def run(self) -> Cost:
        """Run the method once."""
        return Cost(**self.ask("run"))

    def save(self, path: Path) -> None:
        """Write the output of the last run as `.npy`."""
        self.ask(f"save {path}")

    def peak_bytes(self) -> int:
        """Return the largest resident memory so far, libraries included."""
        return self.ask("peak")["bytes"]


def read_peak_bytes() -> int:
    """Return the largest resident memory of this process (Linux)."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(work: Any, *arguments: Any) -> tuple[Any, Cost]:
    """Return the result of a call and its cost on all threads of this process."""
    wall, cpu = time.perf_counter(), time.process_time()
    result = work(*arguments)
    return result, Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _serve(method: str, path: Path) -> None:
    from benchmarks.methods import METHODS

    result: Any = None
    for line in sys.stdin:
        request, _, argument = line.strip().partition(" ")
        answer: dict[str, Any] = {}
        if request == "run":
            result = None
            result, cost = measure(METHODS[method], path)
            answer = {"wall_s": cost.wall_s, "cpu_s": cost.cpu_s}
        elif request == "save":
            np.save(argument, result)
        elif request == "peak":
            answer = {"bytes": read_peak_bytes()}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))

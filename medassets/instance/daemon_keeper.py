"""Keeps the Dagster daemon running: starts it again when it ends, and says so."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_STOP_S = 20.0
# A code server answers a launch once the run's process has begun. After Dagster's 60 s the queue
# would launch the run again, beside a process that a busy machine begins late.
_LAUNCH_S = "300"
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
# A daemon that ran this long did not end because of how it was started.
_STEADY_S = 600.0


@contextmanager
def running_daemon(
    workspace: Path, log: Path, *, lock_fd: int, tell: Callable[[str], None]
) -> Iterator[None]:
    """Keep the daemon running, in a process of its own, until the block is left.

    Args:
        workspace: The `workspace.yaml` to serve.
        log: File to which its output and that of the runs it starts are appended.
        lock_fd: Descriptor of the home's lock, which the daemon holds, too.
        tell: Told each time the daemon has ended by itself.
    """
    command = [
        *(sys.executable, "-m", "medassets.instance.daemon"),
        *(str(lock_fd), str(workspace)),
    ]
    keeper = DaemonKeeper(command, log, lock_fd, tell)
    thread = threading.Thread(target=keeper.keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        keeper.stop()
        thread.join()


@dataclass
class DaemonKeeper:
    """Runs a command again and again until it is told to stop.

    Attributes:
        command: The command; it ends when its standard input is closed.
        log: File to which its output is appended.
        lock_fd: Descriptor that it inherits.
        tell: Told each time it has ended by itself.
    """

    command: list[str]
    log: Path
    lock_fd: int
    tell: Callable[[str], None]
    _stopping: threading.Event = field(default_factory=threading.Event)
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self) -> None:
        """Start the command whenever it does not run; wait longer each time it ends at once."""
        pause = _FIRST_PAUSE_S
        while (process := self._start()) is not None:
            started = time.monotonic()
            code = process.wait()
            if process.stdin:
                process.stdin.close()
            if time.monotonic() - started >= _STEADY_S:
                pause = _FIRST_PAUSE_S
            if not self._stopping.is_set():
                self.tell(
                    f"the daemon ended, exit code {code}; it is started again in {pause:.0f} s. "
                    f"Until then queued runs wait; see the end of {self.log}"
                )
            if self._stopping.wait(pause):
                return
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def stop(self) -> None:
        """End the command, and start it no more."""
        with self._lock:
            self._stopping.set()
        process = self._process
        if process is None:
            return
        if process.stdin:
            process.stdin.close()
        try:
            process.wait(_STOP_S)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes] | None:
        with self._lock, self.log.open("ab") as output:
            if self._stopping.is_set():
                return None
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                env={"DAGSTER_GRPC_TIMEOUT_SECONDS": _LAUNCH_S, **os.environ},
                pass_fds=(self.lock_fd,),
                # Ctrl-C in the terminal must not reach the runs the daemon started.
                start_new_session=True,
            )
            return self._process

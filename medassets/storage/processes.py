"""Which process something belongs to: host, boot, process id and start time together.

A process id alone means nothing on another host, after a reboot, or once the kernel has given it to
another process.
"""

import os
import socket
from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
# Fields 3 (state) and 22 (starttime) of /proc/PID/stat. Source: man 5 proc_pid_stat.
_STATE, _START = 0, 19
_ENDED = frozenset("ZXx")


class Existence(Enum):
    """What this machine can tell about a process."""

    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"
    """It belongs to another machine."""


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one machine, told apart from every other one before and after it.

    Attributes:
        host: Name of the machine.
        boot_id: Identifies the machine's start; empty where the kernel has none.
        pid: Process id.
        start_ticks: Start of the process in clock ticks since the machine's start; it does not move
            when the clock is set. 0 where the kernel does not show it.
    """

    host: str
    boot_id: str
    pid: int
    start_ticks: int

    def __str__(self) -> str:
        """Return the text that `parse_process` reads."""
        return f"{self.host} {self.boot_id or '-'} {self.pid} {self.start_ticks}"

    def existence(self) -> Existence:
        """Tell whether the process runs; a zombie does not."""
        if self.host != socket.gethostname():
            return Existence.UNKNOWN
        start = _read_start(self.pid) if self.boot_id == read_boot_id() else None
        # A start that is not shown may be any.
        if start == self.start_ticks or start == 0 or (start and not self.start_ticks):
            return Existence.RUNNING
        return Existence.ENDED


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    found = find_process(os.getpid())
    assert found is not None
    return found


def find_process(pid: int) -> ProcessIdentity | None:
    """Return the process that has a process id on this machine now; None if none runs."""
    start = _read_start(pid)
    if start is None:
        return None
    return ProcessIdentity(socket.gethostname(), read_boot_id(), pid, start)


def parse_process(text: str) -> ProcessIdentity | None:
    """Read the text of an identity; None if it is not one."""
    parts = text.split(" ")
    if len(parts) != 4 or not (parts[2].isdecimal() and parts[3].isdecimal()):
        return None
    boot_id = "" if parts[1] == "-" else parts[1]
    return ProcessIdentity(parts[0], boot_id, int(parts[2]), int(parts[3]))


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs, under any user."""
    return _read_start(pid) is not None


def is_listening(path: str) -> bool:
    """Tell whether a process listens on a Unix socket; one that is too busy to answer does."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True
    return True


def start_time(process: ProcessIdentity) -> float | None:
    """Return when a process of this boot started, in seconds since the epoch by today's clock.

    None where the kernel does not show it. The figure moves when the clock is set.
    """
    for line in _read_text(_PROC / "stat").splitlines() if process.start_ticks else ():
        name, _, value = line.partition(" ")
        if name == "btime":
            return int(value) + process.start_ticks / os.sysconf("SC_CLK_TCK")
    return None


@cache
def read_boot_id() -> str:
    """Return what identifies this machine's start; empty where the kernel has none."""
    return _read_text(_PROC / "sys/kernel/random/boot_id").strip()


def _read_start(pid: int) -> int | None:
    """Return the start of a running process in clock ticks, 0 if it is hidden, None if it ended."""
    text = _read_text(_PROC / str(pid) / "stat")
    if not text:
        # No /proc on this system, or `hidepid` and a process of another user.
        return 0 if _takes_signals(pid) else None
    # The second field, the name, may hold spaces and parentheses.
    fields = text.rpartition(")")[2].split()
    return None if fields[_STATE] in _ENDED else int(fields[_START])


def _takes_signals(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_text(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, NotADirectoryError, PermissionError, ProcessLookupError):
        return ""

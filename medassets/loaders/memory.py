"""How much memory this process may still take."""

import contextlib
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def read_available_bytes(*, meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int:
    """Return the memory that is free or can be freed, of the machine or of a container's limit.

    Args:
        meminfo: Linux's account of the machine.
        cgroup: Folder of the control group (version 2).
    """
    return min(_read_machine(meminfo), _read_limit(cgroup))


def _read_machine(meminfo: Path) -> int:
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in meminfo.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _read_limit(cgroup: Path) -> int:
    try:
        limit = (cgroup / "memory.max").read_text().strip()
        used = int((cgroup / "memory.current").read_text())
        stat = (cgroup / "memory.stat").read_text().split()
        # Files that nobody looked at lately are given up first; they count as used.
        files = int(stat[stat.index("inactive_file") + 1])
        return max(int(limit) - used + files, 0)
    except (OSError, ValueError, IndexError):
        # No control group, or one without limit ("max").
        return 1 << 62

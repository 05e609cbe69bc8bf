"""Memory that is available to this process."""

import contextlib
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def read_available_bytes(*, meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> int:
    """Return the available memory of the machine or of the container's limit, in bytes.

    Args:
        meminfo: Memory information of the Linux kernel.
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
        # Inactive page cache counts as used but is reclaimed first.
        files = int(stat[stat.index("inactive_file") + 1])
        return max(int(limit) - used + files, 0)
    except (OSError, ValueError, IndexError):
        # No control group, or one without a limit ("max").
        return 1 << 62

"""Memory of the machine or container: what this process may use at all, and what is available now."""

import contextlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_OWN_GROUPS = Path("/proc/self/cgroup")
# Version 2 and version 1 of control groups.
_LIMITS = (("", "memory.max"), ("memory", "memory.limit_in_bytes"))


def read_total_bytes(*, cgroup: Path = _CGROUP, own: Path = _OWN_GROUPS) -> int:
    """Return the memory that this process may use: the least of machine, control groups and ulimit.

    Args:
        cgroup: Folder of the control groups, of version 1 or 2.
        own: The kernel's list of the groups of this process.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    ulimits = (resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA))
    limited = [limit for limit in ulimits if limit != resource.RLIM_INFINITY]
    return min([machine, *limited, *_iter_group_limits(cgroup, own)])


def read_budget_bytes() -> int:
    """Return what one process may take for foreign files: a third of `read_total_bytes`.

    Two runs at a time are usual, and the page cache needs its part.
    """
    return read_total_bytes() // 3


def _iter_group_limits(cgroup: Path, own: Path) -> Iterator[int]:
    """Yield the limits of the groups of this process, and of the groups that contain them."""
    groups = {Path("/")}
    with contextlib.suppress(OSError):
        paths = [line.split(":", 2)[-1] for line in own.read_text().splitlines()]
        groups |= {parent for path in paths for parent in (Path(path), *Path(path).parents)}
    for controller, name in _LIMITS:
        for group in groups:
            with contextlib.suppress(OSError, ValueError):
                yield int((cgroup / controller / str(group).lstrip("/") / name).read_text())


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

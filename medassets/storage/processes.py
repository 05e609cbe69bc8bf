"""Whether the maker of what lies on a disk is still at work."""

import os


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Whether a process of this machine runs."""

import os


def is_alive(pid: int) -> bool:
    """Tell whether a process of this machine runs, under any user."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

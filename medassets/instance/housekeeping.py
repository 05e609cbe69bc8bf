"""What a server does for its home now and then: a short log, and no remains of old runs."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from medassets.instance.clock import revive_sensors
from medassets.instance.database import describe_error, list_database_errors
from medassets.instance.log_rotation import rotate_log
from medassets.instance.retention import purge_old_runs, purge_tick_logs

_ROTATE_EACH_S = 60.0
_PURGE_EACH_S = 86_400.0
_CLOCK_S = 60.0


@contextmanager
def keeping_house(log: Path, *, keep_days: int, tell: Callable[[str], None]) -> Iterator[None]:
    """Rotate a log each minute and purge old runs each day, until the block is left.

    At its begin, and when the clock was set back, sensors are revived that would wait for a time ahead.

    Args:
        log: Log of the daemon and its runs.
        keep_days: Days for which logs of finished runs are kept; 0 keeps them all.
        tell: Told what could not be done; it is tried again a day later.
    """
    stopping = threading.Event()

    def keep() -> None:
        due, ahead = time.monotonic(), float("inf")
        while True:
            rotate_log(log)
            offset = time.time() - time.monotonic()
            if offset < ahead - _CLOCK_S:
                _revive(tell)
            ahead = offset
            if keep_days and time.monotonic() >= due:
                _purge(keep_days, tell)
                due += _PURGE_EACH_S
            if stopping.wait(_ROTATE_EACH_S):
                return

    thread = threading.Thread(target=keep, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join()


def _revive(tell: Callable[[str], None]) -> None:
    try:
        with dg.DagsterInstance.get() as instance:
            if names := revive_sensors(instance):
                tell(f"the clock was set back: {', '.join(names)} would have waited for it")
    except (OSError, *list_database_errors()) as error:
        tell(f"sensors are not revived after a change of the clock: {describe_error(error)}")


def _purge(keep_days: int, tell: Callable[[str], None]) -> None:
    try:
        with dg.DagsterInstance.get() as instance:
            if count := purge_old_runs(instance, keep_days=keep_days):
                tell(f"removed the logs of {count} runs that ended over {keep_days} days ago")
            purge_tick_logs(instance, keep_days=keep_days)
    except (OSError, *list_database_errors()) as error:
        tell(f"logs of old runs are not removed: {describe_error(error)}")

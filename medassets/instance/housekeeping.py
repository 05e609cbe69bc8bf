"""What a server does for its home now and then: a short log, and no remains of old runs."""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from medassets.instance.clock import revive_sensors
from medassets.instance.database import describe_error, list_database_errors
from medassets.instance.log_rotation import rotate_log
from medassets.instance.repeating import repeating
from medassets.instance.retention import purge_old_runs, purge_tick_logs

_ROTATE_EACH_S = 60.0
_PURGE_EACH_S = 86_400.0
_CLOCK_S = 60.0


def keeping_house(
    log: Path, *, keep_days: int, tell: Callable[[str], None]
) -> AbstractContextManager[None]:
    """Rotate a log each minute and purge old runs each day, until the block is left.

    At its begin, and when the clock was set back, sensors are revived that would wait for a time ahead.

    Args:
        log: Log of the daemon and its runs.
        keep_days: Days for which logs of finished runs are kept; 0 keeps them all.
        tell: Told what could not be done; it is tried again a day later.
    """
    return repeating(_Housekeeping(log, keep_days, tell).look, every_s=_ROTATE_EACH_S)


@dataclass
class _Housekeeping:
    """What is due, and what the clock was at the last look."""

    log: Path
    keep_days: int
    tell: Callable[[str], None]
    purge_at: float = 0.0
    clock_offset: float = float("inf")

    def look(self) -> bool:
        rotate_log(self.log)
        offset = time.time() - time.monotonic()
        was_set_back = offset < self.clock_offset - _CLOCK_S
        self.clock_offset = offset
        if was_set_back:
            _revive(self.tell)
        if self.keep_days and time.monotonic() >= self.purge_at:
            self.purge_at = time.monotonic() + _PURGE_EACH_S
            _purge(self.keep_days, self.tell)
        return True


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

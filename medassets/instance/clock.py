"""What Dagster noted by a clock that was ahead and was set back since."""

import time

import dagster as dg

# Neither has a public name.
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import SensorInstigatorData

_TOLERANCE_S = 60.0


def revive_sensors(instance: dg.DagsterInstance, *, now: float | None = None) -> list[str]:
    """Let sensors tick whose last tick lies ahead; Dagster would let them wait until that time.

    Args:
        instance: The instance.
        now: Seconds since 1970; None is the present.

    Returns:
        Names of these sensors.
    """
    now = time.time() if now is None else now
    revived: list[str] = []
    for state in instance.all_instigator_state(instigator_type=InstigatorType.SENSOR):
        data = state.instigator_data
        if not isinstance(data, SensorInstigatorData):
            continue
        times = (data.last_tick_timestamp, data.last_tick_start_timestamp)
        if any(one is not None and one > now + _TOLERANCE_S for one in times):
            due = data._replace(last_tick_timestamp=None, last_tick_start_timestamp=None)
            instance.update_instigator_state(state.with_data(due))
            revived.append(state.instigator_name)
    return revived

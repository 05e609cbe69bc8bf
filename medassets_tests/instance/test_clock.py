"""Sensors after a clock was set back."""

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from medassets.instance.clock import revive_sensors

NOW = 1000.0


def add_sensor(instance: dg.DagsterInstance, name: str, *, last: float) -> InstigatorState:
    location = InProcessCodeLocationOrigin(LoadableTargetOrigin(), location_name="here")
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, "repository"), name)
    data = SensorInstigatorData(
        last_tick_timestamp=last, last_tick_start_timestamp=last, cursor="kept", min_interval=30
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, data)
    return instance.add_instigator_state(state)


@pytest.mark.parametrize("back", [100.0, 3e7])
def test_a_sensor_whose_last_tick_lies_ahead_ticks_again_and_keeps_its_cursor(back: float) -> None:
    with dg.instance_for_test() as instance:
        ahead = add_sensor(instance, "ahead", last=NOW + back)
        usual = add_sensor(instance, "usual", last=NOW - 10)
        assert revive_sensors(instance, now=NOW) == ["ahead"]
        found = {one.instigator_name: one for one in instance.all_instigator_state()}
        data = found["ahead"].instigator_data
        assert isinstance(data, SensorInstigatorData)
        assert (data.last_tick_timestamp, data.last_tick_start_timestamp) == (None, None)
        assert (data.cursor, data.min_interval) == ("kept", 30)
        assert found["ahead"].status is ahead.status
        assert found["usual"].instigator_data == usual.instigator_data
        assert revive_sensors(instance, now=NOW) == []

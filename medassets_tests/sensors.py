"""Sensors and their ticks on record, as the daemon puts them there."""

import time

import dagster as dg
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    ManagedGrpcPythonEnvCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster_shared.error import SerializableErrorInfo

REPOSITORY = "__repository__"


def put_sensor(
    instance: dg.DagsterInstance,
    name: str,
    status: InstigatorStatus = InstigatorStatus.DECLARED_IN_CODE,
) -> InstigatorState:
    """Put a sensor on record, as the daemon does at its first tick."""
    location = ManagedGrpcPythonEnvCodeLocationOrigin(
        LoadableTargetOrigin(module_name="medassets.definitions"), location_name="medassets"
    )
    origin = RemoteInstigatorOrigin(RemoteRepositoryOrigin(location, REPOSITORY), name)
    data = SensorInstigatorData(sensor_type=None)
    return instance.add_instigator_state(
        InstigatorState(origin, InstigatorType.SENSOR, status, data)
    )


def put_tick(instance: dg.DagsterInstance, state: InstigatorState, status: TickStatus) -> None:
    """Put a tick of a sensor on record that ended now."""
    now = time.time()
    error = SerializableErrorInfo("it failed", [], None) if status is TickStatus.FAILURE else None
    tick = TickData(
        state.instigator_origin_id,
        state.instigator_name,
        state.instigator_type,
        status,
        now,
        error=error,
        end_timestamp=now,
        selector_id=state.selector_id,
    )
    instance.create_tick(tick)

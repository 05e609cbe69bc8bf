"""Only what another try can mend is tried again, and never by a command that a person waits for."""

from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from medassets import errors
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace
from medassets.instance.run_tags import LAUNCHED_BY_TAG
from medassets.io_managers import failures
from medassets.io_managers.failures import fail_range
from medassets_tests.location import Location

KEY = "train-000000"
PASSING = (errors.DiskSpaceError, errors.LockTimeoutError, errors.SourceUnavailableError)
FINAL = (
    errors.CatalogError,
    errors.ShardIntegrityError,
    errors.SourceAccessError,
    errors.TooManyRejectedError,
)


@pytest.fixture
def catalogued(location: Location, monkeypatch: pytest.MonkeyPatch) -> Location:
    """A catalogued dataset, one file at a time, whose runs retry without a pause."""
    monkeypatch.setattr(failures, "_RETRY_DELAY_S", 0.0)
    location.materialize("catalog")
    return replace(location, spec=replace(location.spec, num_workers=1))


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> list[errors.MedassetsError]:
    """Errors that staging will raise, one per call."""
    planned: list[errors.MedassetsError] = []
    stage = Workspace.stage

    def failing(self: Workspace, *arguments: Any, **more: Any) -> Any:
        if planned:
            raise planned.pop(0)
        return stage(self, *arguments, **more)

    monkeypatch.setattr(Workspace, "stage", failing)
    return planned


def num_retries(result: dg.ExecuteInProcessResult) -> int:
    kinds = [event.event_type for event in result.all_events]
    return kinds.count(dg.DagsterEventType.STEP_UP_FOR_RETRY)


def told_by(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = (event.step_failure_data for event in result.all_events if event.is_step_failure)
    return str(failure.error)


@pytest.mark.parametrize("kind", PASSING)
def test_a_transient_failure_is_retried(
    catalogued: Location, trouble: list[Any], kind: type[errors.MedassetsError]
) -> None:
    trouble += [kind("wait a little")] * 2
    result = catalogued.materialize("shards", partition=KEY, check=False)
    assert result.success
    assert num_retries(result) == 2


def test_a_lasting_failure_is_retried_twice_and_explained(
    catalogued: Location, trouble: list[Any]
) -> None:
    trouble += [errors.SourceUnavailableError("the hub sleeps")] * 50
    result = catalogued.materialize("shards", partition=KEY, check=False)
    assert not result.success
    assert num_retries(result) == 2
    assert "the hub sleeps" in told_by(result)


@pytest.mark.parametrize("kind", FINAL)
def test_other_errors_fail_at_once(
    catalogued: Location, trouble: list[Any], kind: type[errors.MedassetsError]
) -> None:
    trouble += [kind("not today")]
    result = catalogued.materialize("shards", partition=KEY, check=False)
    assert (result.success, num_retries(result)) == (False, 0)
    assert "dagster._core.definitions.events.Failure: not today" in told_by(result)


@pytest.mark.parametrize("kind", PASSING + FINAL)
def test_a_run_that_the_command_made_is_not_retried(
    catalogued: Location, trouble: list[Any], kind: type[errors.MedassetsError]
) -> None:
    trouble += [kind("not today")]
    tags = {LAUNCHED_BY_TAG: "medassets"}
    with pytest.raises(dg.Failure, match="not today") as told:
        catalogued.materialize("shards", partition=KEY, tags=tags)
    assert not told.value.allow_retries


def test_a_range_with_a_transient_failure_is_retried_and_adopts_what_is_done(
    catalogued: Location, trouble: list[Any]
) -> None:
    location = replace(catalogued, spec=replace(catalogued.spec, runs="single"))
    trouble += [errors.SourceUnavailableError("the hub sleeps")]
    span = (KEY, "train-000001")
    result = location.materialize("shards", span=span, check=False)
    assert result.success
    assert num_retries(result) == 1
    adopted = [
        event.metadata["medassets/adopted"].value
        for event in location.events("shards", "train-000001")
    ]
    assert adopted[0] is False
    assert adopted[-1] is True


def test_the_failure_of_a_large_range_stays_small() -> None:
    failed = {
        f"train-{i:06d}": errors.TooManyRejectedError("many words " * 100) for i in range(5000)
    }
    with pytest.raises(dg.Failure, match="5000 of the run's shards were not made") as told:
        fail_range(failed, {})
    size = len(str(told.value.description)) + len(str(told.value.metadata["medassets/failed"]))
    assert size < 30_000


def test_the_catalog_of_a_silent_source_is_tried_again(
    location: Location, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "_RETRY_DELAY_S", 0.0)
    planned = [errors.SourceUnavailableError("the hub sleeps")]
    read = VolumeDataset.read_rows

    def failing(self: VolumeDataset, *arguments: Any, **options: Any) -> Any:
        if planned:
            raise planned.pop()
        return read(self, *arguments, **options)

    monkeypatch.setattr(VolumeDataset, "read_rows", failing)
    result = location.materialize("catalog", check=False)
    assert (result.success, num_retries(result)) == (True, 1)

"""The command's way into Dagster: its instance, the declared datasets, runs in this process."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.storage.partition_status_cache import AssetPartitionStatus

from medassets.components.loading import LoadedDatasets
from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import open_kind
from medassets.datasets.status import Recorded
from medassets.datasets.workspace import Workspace
from medassets.definitions import build_definitions, build_resources, load_declared
from medassets.errors import MedassetsError, SpecError
from medassets.io_managers.failures import LAUNCHED_BY_TAG
from medassets.storage.paths import dagster_home

# The terminal shows progress and errors; the full log is in the run, for the UI.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class RunFailedError(MedassetsError, RuntimeError):
    """A Dagster run of this command failed; the message is the cause as the step told it."""

    def __init__(self, message: str, *, causes: tuple[str, ...]) -> None:
        super().__init__(message)
        self.causes = causes


@dataclass(frozen=True)
class RunResult:
    """How one run ended."""

    run_id: str
    ok: bool
    error: str
    causes: tuple[str, ...]


def ensure_dagster_home() -> Path:
    """Return the instance's folder, made with our `dagster.yaml` where there is none.

    `DAGSTER_HOME` of the environment wins; the variable is set for this process and its children.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or dagster_home())
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "dagster.yaml").exists():
        with as_file(files("medassets.cli") / "dagster.yaml") as shipped:
            shutil.copyfile(shipped, home / "dagster.yaml")
    os.environ["DAGSTER_HOME"] = str(home)
    return home


class Session:
    """One command's datasets and instance, opened when they are first needed."""

    @cached_property
    def loaded(self) -> LoadedDatasets:
        """All declarations."""
        return load_declared()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The persistent Dagster instance that the UI shows."""
        ensure_dagster_home()
        return dg.DagsterInstance.get()

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location, as the UI loads it."""
        return build_definitions(self.loaded)

    def kind(self, dataset: str) -> DatasetKind:
        """Return a declared dataset.

        Raises:
            SpecError: If it is not declared, or its declaration is broken.
        """
        declared = self.loaded.datasets.get(dataset)
        if declared is None:
            broken = [str(p) for p in self.loaded.problems if dataset in str(p.file)]
            known = ", ".join(sorted(self.loaded.datasets)) or "none"
            msg = f"dataset: {dataset!r} is not declared; declared: {known}"
            raise SpecError("; ".join([msg, *broken]))
        return open_kind(declared.spec)

    def workspace(self, dataset: str) -> Workspace:
        """Return where a dataset's bytes come from, wait and end, as its assets see it."""
        resource = build_resources()["workspace"]
        return resource.open(self.kind(dataset))

    def recorded(self, dataset: str, keys: list[str]) -> Recorded:
        """Return what Dagster knows of the dataset's shards."""
        statuses = self.instance.get_status_by_partition(
            dg.AssetKey([dataset, "shards"]),
            keys,
            dg.DynamicPartitionsDefinition(name=f"{dataset}_shards"),
        )
        by_status: dict[Any, set[str]] = {}
        for key, status in (statuses or {}).items():
            by_status.setdefault(status, set()).add(key)
        failed = by_status.get(AssetPartitionStatus.FAILED, set())
        materialized = self.instance.get_materialized_partitions(dg.AssetKey([dataset, "shards"]))
        return Recorded(materialized=materialized, failed=failed)

    def run(
        self,
        job: str,
        *,
        partition: str | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Execute one of the dataset's jobs in this process, on the persistent record.

        Args:
            job: Name of the job.
            partition: Partition key, for a partitioned job.
            config: Config of its ops, by op name.
        """
        ops = {name: {"config": value} for name, value in (config or {}).items()}
        result = self.definitions.resolve_job_def(job).execute_in_process(
            instance=self.instance,
            partition_key=partition,
            run_config={**_QUIET, "ops": ops},
            raise_on_error=False,
            tags={LAUNCHED_BY_TAG: "medassets"},
        )
        return _as_result(result)


def _as_result(result: dg.ExecuteInProcessResult) -> RunResult:
    errors = [
        event.step_failure_data.error
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.error
    ]
    chain: list[Any] = []
    for error in errors:
        while error is not None:
            chain.append(error)
            error = error.cause
    message = chain[-1].message.strip() if chain else ""
    for link in chain:
        if link.cls_name and link.cls_name.endswith("Error") and "Dagster" not in link.cls_name:
            message = link.message.strip()
            break
    return RunResult(
        run_id=result.run_id,
        ok=result.success,
        error=message.partition(": ")[2] or message,
        causes=tuple(link.cls_name or "" for link in chain),
    )

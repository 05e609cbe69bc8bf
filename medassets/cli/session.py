"""Connects the command to Dagster: instance, declared datasets, and runs in this process."""

import re
import uuid
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg

from medassets.cli.run_result import RunResult, hearing_interrupts, read_result
from medassets.components.loading import LoadedDatasets
from medassets.components.overrides import overrides_file
from medassets.components.yaml_lines import read_declaration
from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import list_build_stages, open_kind, open_kinds
from medassets.datasets.status import Recorded
from medassets.datasets.workspace import Workspace
from medassets.definitions import build_definitions, build_resources, load_declared
from medassets.errors import UsageError
from medassets.instance.database import database_trouble_explained
from medassets.instance.home import open_instance
from medassets.instance.run_tags import tags_of_command
from medassets.io_managers.recorded import read_recorded
from medassets.reclaim.claims import Others
from medassets.specs.checks import suggest_name

# The terminal shows progress and errors; the full log is in the run, for the UI.
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Session:
    """One command's datasets and instance, opened when they are first needed."""

    @cached_property
    def loaded(self) -> LoadedDatasets:
        """All declarations."""
        return load_declared()

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The persistent Dagster instance that the UI shows.

        Raises:
            UsageError: If its folder cannot be written, or its `dagster.yaml` is wrong.
        """
        return open_instance()

    @cached_property
    def definitions(self) -> dg.Definitions:
        """The code location, as the UI loads it."""
        return build_definitions(self.loaded)

    def kind(self, dataset: str, stage: str = "") -> DatasetKind:
        """Return a declared dataset's stage of shards; without a name the one to train on.

        Raises:
            UsageError: If it is not declared, its declaration is broken, or it has no such stage.
        """
        declared = self.loaded.datasets.get(dataset)
        if declared is None:
            broken = [str(p) for p in self.loaded.problems if _names(p.file, dataset)]
            known = ", ".join(sorted(self.loaded.datasets)) or "none"
            near = suggest_name(dataset, self.loaded.datasets)
            what = f"{dataset!r} is not declared; declared: {known}{near}"
            raise UsageError(field="dataset", what="; ".join([what, *broken]))
        return open_kind(declared.spec, stage)

    def stages(self, dataset: str) -> list[str]:
        """Return the names of a dataset's stages of shards; the one to train on is first.

        Raises:
            UsageError: If it is not declared, or its declaration is broken.
        """
        self.kind(dataset)
        return list(open_kinds(self.loaded.datasets[dataset].spec))

    def build_stages(self, dataset: str) -> list[str]:
        """Return the stages that a whole build makes, in order.

        Raises:
            UsageError: If it is not declared, or its declaration is broken.
        """
        self.kind(dataset)
        return list_build_stages(self.loaded.datasets[dataset].spec)

    def live_stages(self, dataset: str, *, on_record: bool = True) -> list[str]:
        """Return the stages that commands report on; the one to train on is first.

        They are those of a whole build, and others that have shards.

        Args:
            dataset: Its name.
            on_record: Whether stages with entries only in Dagster's record count.

        Raises:
            UsageError: If it is not declared, or its declaration is broken.
        """
        asked_for = self.build_stages(dataset)
        return [
            stage
            for stage in self.stages(dataset)
            if stage in asked_for or self._is_live(self.workspace(dataset, stage), on_record)
        ]

    def _is_live(self, workspace: Workspace, on_record: bool) -> bool:
        if not workspace.paths.catalog.exists():
            return False
        keys = list(workspace.read_plan().partitions)
        if any(workspace.paths.shard(key).exists() for key in keys):
            return True
        if not on_record:
            return any(workspace.paths.record(key).exists() for key in keys)
        recorded = self.recorded(workspace, keys)
        return bool(recorded.materialized or recorded.failed)

    def workspace(self, dataset: str, stage: str = "") -> Workspace:
        """Return the workspace of a dataset, as its assets open it."""
        resource = build_resources()["workspace"]
        return resource.open(self.kind(dataset, stage))

    def others(self, dataset: str) -> Others:
        """Return the datasets declared beside one that read files of this machine."""
        resource = build_resources()["workspace"]
        return self.loaded.declarations.open_others(dataset, resource.open)

    def recorded(self, workspace: Workspace, keys: list[str]) -> Recorded:
        """Return what Dagster knows of the shards of a dataset's stage."""
        with database_trouble_explained():
            return read_recorded(self.instance, workspace.kind, keys)

    def run(
        self,
        job: str,
        *,
        partition: str | None = None,
        config: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
    ) -> RunResult:
        """Execute one of the dataset's jobs in this process, on the persistent record.

        Args:
            job: Name of the job.
            partition: Partition key, for a partitioned job.
            config: Config of its ops, by op name.
            resources: Config of its resources, by name.
        """
        ops = {name: {"config": value} for name, value in (config or {}).items()}
        definition, instance = self.definitions.resolve_job_def(job), self.instance
        run_id = str(uuid.uuid4())
        with database_trouble_explained(), hearing_interrupts() as interrupted:
            result = definition.execute_in_process(
                instance=instance,
                partition_key=partition,
                run_config={**_QUIET, "ops": ops, "resources": dict(resources or {})},
                raise_on_error=False,
                run_id=run_id,
                tags=tags_of_command(run_id),
            )
            stopped = interrupted()
        return read_result(result, interrupted=stopped)


def open_undeclared(kind: DatasetKind) -> Workspace:
    """Return the workspace of a dataset that has no declaration yet, as its assets will open it."""
    return build_resources()["workspace"].open(kind)


def _names(file: Path, dataset: str) -> bool:
    """Tell whether a broken declaration is the one of a dataset, as far as it can be read."""
    if file == overrides_file(dataset):
        return True
    text = read_declaration(file).decode("utf-8", errors="replace")
    return bool(re.search(rf"^\s*name:\s*[\"']?{re.escape(dataset)}\b", text, re.MULTILINE))

"""Declared datasets with a Dagster instance, as the tests of the Dagster rooms use them."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from medassets.assets.volumes import build_volume_assets
from medassets.components.loading import load_datasets
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.definitions import build_resources
from medassets.specs import VolumeDatasetSpec

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class Location:
    """One declared dataset and the instance that remembers its runs.

    Attributes:
        spec: The declaration.
        instance: Where Dagster's events go.
        resources: The resources of the code location, unless a test replaces one.
    """

    spec: VolumeDatasetSpec
    instance: dg.DagsterInstance
    resources: Mapping[str, Any] = field(default_factory=build_resources)

    @property
    def workspace(self) -> Workspace:
        """The dataset's files and source, as its assets open them."""
        return open_workspace(VolumeDataset(self.spec))

    @property
    def definitions(self) -> dg.Definitions:
        """The dataset's definitions, with the resources they need."""
        shared = dg.Definitions(resources=dict(self.resources), executor=dg.in_process_executor)
        return dg.Definitions.merge(build_volume_assets(self.spec), shared)

    @property
    def keys(self) -> list[str]:
        """The partition keys that Dagster knows, in its order."""
        return list(self.instance.get_dynamic_partitions(self.spec.partitions_name))

    def key(self, stage: str) -> dg.AssetKey:
        """Return the key of one of the dataset's assets."""
        return dg.AssetKey([self.spec.name, stage])

    def materialize(
        self,
        *stages: str,
        partition: str | None = None,
        span: tuple[str, str] | None = None,
        config: Mapping[str, Mapping[str, Any]] | None = None,
        tags: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> dg.ExecuteInProcessResult:
        """Materialize assets in this process.

        Args:
            stages: Their last key parts.
            partition: One partition.
            span: First and last partition of a range, in one run.
            config: Config by stage.
            tags: More tags of the run.
            check: Raise what a step raises.
        """
        ops = {f"{self.spec.name}__{s}": {"config": dict(c)} for s, c in (config or {}).items()}
        span_tags = {_RANGE_START: span[0], _RANGE_END: span[1]} if span else {}
        return self.definitions.resolve_implicit_global_asset_job_def().execute_in_process(
            instance=self.instance,
            asset_selection=[self.key(stage) for stage in stages],
            partition_key=partition,
            tags={**span_tags, **(tags or {})},
            run_config={**QUIET, "ops": ops},
            raise_on_error=check,
        )

    def build(self) -> None:
        """Materialize catalog, all shards one by one, and the manifest."""
        self.materialize("catalog")
        for key in self.keys:
            self.materialize("shards", partition=key)
        self.materialize("manifest")

    def check(self, stage: str, name: str) -> dg.AssetCheckEvaluation:
        """Execute one check of an unpartitioned asset, and nothing else."""
        wanted = dg.AssetSelection.checks(dg.AssetCheckKey(self.key(stage), name))
        defs = dg.Definitions.merge(
            self.definitions, dg.Definitions(jobs=[dg.define_asset_job("one_check", wanted)])
        )
        result = defs.resolve_job_def("one_check").execute_in_process(
            instance=self.instance, run_config=QUIET
        )
        (evaluation,) = result.get_asset_check_evaluations()
        return evaluation

    def events(self, stage: str, partition: str | None = None) -> list[dg.AssetMaterialization]:
        """Return the materializations of an asset, oldest first."""
        return events_of(self.instance, self.key(stage), partition)


def events_of(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str | None = None
) -> list[dg.AssetMaterialization]:
    """Return the materializations of an asset, oldest first."""
    wanted = dg.AssetRecordsFilter(
        asset_key=key, asset_partitions=[partition] if partition else None
    )
    records = instance.fetch_materializations(wanted, limit=1000, ascending=True).records
    return [record.asset_materialization for record in records if record.asset_materialization]


def metadata_of(event: dg.AssetMaterialization) -> dict[str, Any]:
    """Return the plain values of an event's metadata."""
    return {key: value.value for key, value in event.metadata.items()}


def picture_of(event: dg.AssetMaterialization) -> bytes:
    """Return the picture in an event's metadata."""
    text = str(event.metadata["medassets/preview"].value)
    return base64.b64decode(text.partition("base64,")[2].removesuffix(")"))


def size_of(event: dg.AssetMaterialization) -> int:
    """Return the bytes that an event's metadata takes in Dagster's database."""
    return len(dg.serialize_value(event).encode())


@dataclass(frozen=True)
class Shell:
    """A terminal: own declarations, an own home, a persistent instance.

    Attributes:
        folder: Everything lies below it; the working directory.
    """

    folder: Path

    @property
    def home(self) -> Path:
        """MEDASSETS_HOME, as the test itself sees it."""
        return self.folder / "home"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME."""
        return self.home / "dagster"

    @property
    def environment(self) -> dict[str, str]:
        """The variables its commands see."""
        return {
            **os.environ,
            "MEDASSETS_HOME": str(self.home),
            "MEDASSETS_DEFS": str(self.folder / "declared"),
            "DAGSTER_HOME": str(self.dagster_home),
            "NO_COLOR": "1",
        }

    def declare(self, name: str, **attributes: Any) -> Path:
        """Write a declaration of tiny samples; return its file."""
        lines = ["type: medassets.components.VolumeDatasetComponent", "attributes:"]
        lines += [f"  {k}: {json.dumps(v)}" for k, v in {"name": name, **attributes}.items()]
        file = self.folder / "declared" / name / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
        return file

    def instance(self) -> dg.DagsterInstance:
        """Open the instance that the commands write to."""
        return dg.DagsterInstance.from_config(str(self.dagster_home))

    def location(self, name: str, instance: dg.DagsterInstance) -> Location:
        """Return what was declared under a name, on the persistent instance."""
        (declared,) = load_datasets([self.folder / "declared" / name]).datasets.values()
        assert isinstance(declared.spec, VolumeDatasetSpec)
        return Location(declared.spec, instance)

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command of this Python's environment to its end."""
        return subprocess.run(
            command,
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )

    def materialize(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `dagster asset materialize -m medassets.definitions` with more arguments."""
        start = (sys.executable, "-m", "dagster", "asset", "materialize")
        return self.run(*start, "-m", "medassets.definitions", *arguments)

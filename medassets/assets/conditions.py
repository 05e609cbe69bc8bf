"""Automation conditions that read the disk and the journal of tries, not Dagster's record alone."""

from abc import abstractmethod
from collections.abc import Collection, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dagster as dg

# Dagster exports conditions, but not how a condition names the partitions it is true for.
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.events import AssetKeyPartitionKey

from medassets.assets.keys import asset_key
from medassets.datasets.automation.attempts import Attempts, AttemptsLog
from medassets.datasets.automation.switch import read_switch
from medassets.datasets.automation.wanted import (
    DiskState,
    describe_waiting,
    is_overdue,
    list_due,
    look_at_disk,
    pick,
    seconds_now,
    wants_manifest,
    wants_refresh,
)
from medassets.datasets.kind import DatasetKind
from medassets.datasets.workspace import Workspace
from medassets.instance.run_tags import DATASET_TAG
from medassets.io_managers.recorded import read_recorded
from medassets.resources.workspace import WorkspaceResource
from medassets.stages import CommonStage
from medassets.storage.paths import DatasetPaths

_STATES: ContextVar[dict[DatasetPaths, DiskState] | None] = ContextVar("states", default=None)
"""What this tick saw on disk: all conditions of a tick are evaluated on one look."""


def _look(workspace: Workspace) -> DiskState:
    states = _STATES.get()
    if states is None:
        return look_at_disk(workspace)
    if workspace.paths not in states:
        states[workspace.paths] = look_at_disk(workspace)
    return states[workspace.paths]


@dataclass(frozen=True, eq=False)
class DiskCondition(dg.AutomationCondition):
    """A condition on the files of a dataset; never true while its automation is off.

    Attributes:
        kind: The dataset and stage.
    """

    kind: DatasetKind

    # Dagster awaits it, as it does its own; the stub of the base class does not say so.
    async def evaluate(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, context: Any
    ) -> dg.AutomationResult:
        """Return which candidates it is true for."""
        resource = _read_resource(context.asset_graph.get(context.key).assets_def)
        paths = resource.paths(self.kind.spec.name)
        keys: Collection[str | None] = ()
        if not context.candidate_subset.is_empty and read_switch(self.kind.spec, paths).is_on:
            keys = await self.find(context.asset_graph_view, resource, AttemptsLog(paths).read())
        found = context.asset_graph_view.get_asset_subset_from_asset_partitions(
            context.key, {AssetKeyPartitionKey(context.key, key) for key in keys}
        )
        return dg.AutomationResult(
            context, true_subset=found.compute_intersection(context.candidate_subset)
        )

    @abstractmethod
    def may_want(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> bool:
        """Return whether it may be true for anything now; runs in progress do not count.

        Args:
            instance: Dagster's instance.
            resource: Opens the dataset's workspace.
            attempts: What was tried.
        """

    def describe_waiting(self, resource: WorkspaceResource, attempts: Attempts) -> str:
        """Return what waits for a later time or for a person; empty if nothing does."""
        return ""

    async def find(
        self, view: AssetGraphView, resource: WorkspaceResource, attempts: Attempts
    ) -> Collection[str | None]:
        """Return partition keys; of an unpartitioned asset, None alone or nothing.

        Args:
            view: What Dagster knows.
            resource: Opens the dataset's workspace.
            attempts: What was tried.
        """
        return [None] if self.may_want(view.instance, resource, attempts) else []


@dataclass(frozen=True, eq=False)
class ShardsWanted(DiskCondition):
    """Shards are missing, lost, stale, or failed and due again.

    Attributes:
        made_of: Stage whose shards these are made of.
        with_stages: A run or backfill of one of these stages makes the shard already.
    """

    made_of: DatasetKind | None = None
    with_stages: Sequence[str] = ()

    @staticmethod
    def condition(
        kind: DatasetKind, *, made_of: DatasetKind | None = None, with_stages: Sequence[str] = ()
    ) -> dg.AutomationCondition:
        """Return the condition of a partitioned asset.

        Args:
            kind: Dataset and stage of the shards; of a raw stage, those its files are for.
            made_of: Stage whose shards these are made of.
            with_stages: The asset's own stage and others that one run makes with it. Files that
                were released when their shard was made are not missing.
        """
        wanted = ShardsWanted(kind, made_of, tuple(with_stages) or (kind.stage,))
        return wanted & ~dg.AutomationCondition.in_progress()

    @property
    def description(self) -> str:
        """Text of the condition in the UI."""
        return "Missing, lost, stale, or failed and due again, on disk"

    def may_want(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> bool:
        """Return whether shards are due."""
        return bool(self._list_due(instance, resource, attempts))

    def describe_waiting(self, resource: WorkspaceResource, attempts: Attempts) -> str:
        """Return how many shards are left that are not due."""
        workspace = resource.open(self.kind)
        if not workspace.paths.catalog.exists():
            return ""
        return describe_waiting(_look(workspace), attempts, now=seconds_now())

    async def find(
        self, view: AssetGraphView, resource: WorkspaceResource, attempts: Attempts
    ) -> Collection[str | None]:
        """Return the shards to ask for now."""
        due = self._list_due(view.instance, resource, attempts)
        busy = await self._list_busy(view) if due else set[str]()
        return pick(due, attempts, stage=self.kind.stage, busy=busy, now=seconds_now())

    def _list_due(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> list[str]:
        workspace, now = resource.open(self.kind), seconds_now()
        if attempts.is_held_back(now) or not workspace.paths.catalog.exists():
            return []
        upstream = _look(resource.open(self.made_of)) if self.made_of is not None else None
        state = _look(workspace)
        failed = read_recorded(instance, self.kind, list(state.plan.partitions)).failed
        due = list_due(
            state, attempts, now=now, upstream=upstream, recorded_failed=frozenset(failed)
        )
        known = set(instance.get_dynamic_partitions(self.kind.spec.partitions_name) if due else ())
        return [key for key in due if key in known]

    async def _list_busy(self, view: AssetGraphView) -> set[str]:
        busy: set[str] = set()
        for stage in self.with_stages:
            key = asset_key(self.kind.spec.name, stage)
            full = view.get_full_subset(key=key)
            by_run = await view.compute_run_in_progress_subset(key=key, from_subset=full)
            by_backfill = await view.compute_backfill_in_progress_subset(key=key, from_subset=full)
            for subset in (by_run, by_backfill):
                busy.update(subset.expensively_compute_partition_keys())
        return busy


@dataclass(frozen=True, eq=False)
class RefreshWanted(DiskCondition):
    """The catalog does not exist yet, its last refresh failed, or Dagster lacks keys of its plan."""

    @staticmethod
    def condition(kind: DatasetKind) -> dg.AutomationCondition:
        """Return the condition of a catalog; its schedule asks for it as well."""
        return RefreshWanted(kind) & ~dg.AutomationCondition.in_progress()

    @property
    def description(self) -> str:
        """Text of the condition in the UI."""
        return "Not there yet, failed and due again, or with partitions that Dagster lacks"

    def may_want(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> bool:
        """Return whether the catalog wants a refresh."""
        known = instance.get_dynamic_partitions(self.kind.spec.partitions_name)
        return wants_refresh(resource.open(self.kind), attempts, known=known, now=seconds_now())

    def describe_waiting(self, resource: WorkspaceResource, attempts: Attempts) -> str:
        """Return that there is no catalog, where it is not due."""
        has_catalog = resource.paths(self.kind.spec.name).catalog.exists()
        return "" if has_catalog else "there is no catalog, and its refresh is not due"


@dataclass(frozen=True, eq=False)
class ManifestWanted(DiskCondition):
    """The shards on disk are others than when the manifest was last written.

    Attributes:
        manifest: Name of the manifest's asset.
    """

    manifest: str = CommonStage.MANIFEST

    @staticmethod
    def condition(kind: DatasetKind, *, name: str) -> dg.AutomationCondition:
        """Return the condition of a manifest.

        It waits while shards are made, an hour at most. Shards that failed do not hold it back.
        """
        in_progress = dg.AutomationCondition.in_progress()
        settled = ~dg.AutomationCondition.any_deps_in_progress() | ManifestOverdue(kind)
        return ManifestWanted(kind, name) & ~in_progress & settled

    @property
    def description(self) -> str:
        """Text of the condition in the UI."""
        return "Shards on disk are others than when it was written"

    def may_want(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> bool:
        """Return whether the manifest is to be written."""
        workspace = resource.open(self.kind)
        if not workspace.paths.catalog.exists():
            return False
        state = _look(workspace)
        return wants_manifest(state, attempts, name=self.manifest, now=seconds_now())


@dataclass(frozen=True, eq=False)
class ManifestOverdue(DiskCondition):
    """The manifest on disk is an hour old."""

    @property
    def description(self) -> str:
        """Text of the condition in the UI."""
        return "An hour old"

    def may_want(
        self, instance: dg.DagsterInstance, resource: WorkspaceResource, attempts: Attempts
    ) -> bool:
        """Return whether it is."""
        return is_overdue(resource.open(self.kind), now=seconds_now())


class DatasetSensor(dg.AutomationConditionSensorDefinition):
    """The sensor of one dataset's conditions; a tick at which nothing is wanted costs little.

    Dagster writes a log file at each tick that evaluates conditions, which would be three thousand a
    day of each dataset.
    """

    def with_attributes(self, *, jobs: Any = None, metadata: Any = None) -> "DatasetSensor":
        """Return a copy with other metadata; Dagster's own would be a sensor of the base class."""
        return DatasetSensor(
            name=self.name,
            target=self.asset_selection,
            tags=self.tags,
            run_tags=self.run_tags,
            default_status=self.default_status,
            minimum_interval_seconds=self.minimum_interval_seconds,
            description=self.description,
            metadata=metadata if metadata is not None else self.metadata,
            use_user_code_server=True,
        )

    def evaluate_tick(self, context: dg.SensorEvaluationContext) -> Any:
        """Evaluate the conditions, or return why nothing is wanted."""
        token = _STATES.set({})
        try:
            why = _explain_idle(context, self.asset_selection)
            if not why:
                return super().evaluate_tick(context)
        finally:
            _STATES.reset(token)
        idle = dg.SensorDefinition(self.name, evaluation_fn=lambda _: dg.SkipReason(why))
        return idle.evaluate_tick(context)


def _explain_idle(context: dg.SensorEvaluationContext, selection: dg.AssetSelection) -> str:
    """Return why no condition of a dataset is true; empty if one may be."""
    repository = context.repository_def
    if repository is None:
        return ""
    graph = repository.asset_graph
    keys = selection.resolve(graph)
    if created := _find_created(context.instance, keys):
        return f"run {created} was created and is not queued yet"
    assets, waiting = [graph.get(key) for key in keys], dict[str, None]()
    for asset in assets:
        for condition in _iter_disk_conditions(asset.automation_condition):
            resource = _read_resource(asset.assets_def)
            paths = resource.paths(condition.kind.spec.name)
            switch = read_switch(condition.kind.spec, paths)
            if not switch.is_on:
                return f"automation is {switch.describe()}"
            attempts = AttemptsLog(paths).read()
            if condition.may_want(context.instance, resource, attempts):
                return ""
            waiting[condition.describe_waiting(resource, attempts)] = None
    told = [text for text in waiting if text]
    return "; ".join(told) or "nothing is missing, lost, stale, or failed and due again"


def _find_created(instance: dg.DagsterInstance, keys: Collection[dg.AssetKey]) -> str:
    """Return the id of a run of some assets that was created and not queued yet; empty if there is none.

    For Dagster's conditions such a run is not in progress. Where the daemon was killed before it
    queued one, Dagster queues or fails it within two minutes.
    """
    datasets = {key.path[0] for key in keys}
    created = dg.RunsFilter(statuses=[dg.DagsterRunStatus.NOT_STARTED])
    found = (
        run.run_id
        for run in instance.get_runs(created)
        if run.tags.get(DATASET_TAG) in datasets
        or not (run.asset_selection or set()).isdisjoint(keys)
    )
    return next(found, "")


def _iter_disk_conditions(condition: dg.AutomationCondition | None) -> Iterator[DiskCondition]:
    if isinstance(condition, DiskCondition):
        yield condition
    for child in condition.children if condition is not None else ():
        # What only limits another condition wants nothing by itself.
        if not isinstance(child, ManifestOverdue):
            yield from _iter_disk_conditions(child)


def _read_resource(assets: dg.AssetsDefinition) -> WorkspaceResource:
    """Return the resource that the asset's own runs would get: its roots may be configured."""
    return _init_resource(assets.resource_defs["workspace"])


@lru_cache(maxsize=8)
def _init_resource(definition: dg.ResourceDefinition) -> WorkspaceResource:
    with dg.build_resources({"workspace": definition}) as resources:
        return resources.workspace

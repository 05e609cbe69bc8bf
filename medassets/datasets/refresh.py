"""The catalog: what the source holds today, arranged in a plan that only grows."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from medassets.datasets.automation.outcomes import Try
from medassets.datasets.recovery.restore import ReadRows, open_planned
from medassets.datasets.upstream.comparison import Following, follow_upstream
from medassets.datasets.upstream.move import Upstream, store_upstream
from medassets.datasets.upstream.pins import pin_files
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, UsageError
from medassets.shards.catalog.files import read_plan, write_catalog
from medassets.shards.catalog.plan import CatalogPlan, plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.catalog.previous import name_dataset, open_previous
from medassets.shards.catalog.settings import read_settings, store_settings
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.sources.base import Source
from medassets.storage.locks import lock_file
from medassets.storage.paths import DatasetPaths


@dataclass(frozen=True)
class CatalogDraft:
    """A planned catalog that is not written yet.

    Attributes:
        table: All rows, see `medassets.shards.catalog`.
        plan: Its plan.
        previous_plan: Plan of the catalog it grew from, None for the first one.
        source_uri: Where the rows come from.
        revision: Current revision of the source.
        partitions_name: Dynamic partitions definition that takes the plan's keys.
        settings: What decides a sample's split or place; kept from the first plan on.
        upstream: What was found at a source with revisions; None for others.
        tried: The try that drafted it, which its publication ends; None notes nothing.
        replaces: Version of the catalog on disk that it replaces; None if there was none.
        restored: Partition keys whose members were restored from records; see
            `medassets.datasets.recovery.restore`.
    """

    table: pa.Table
    plan: CatalogPlan
    previous_plan: CatalogPlan | None
    source_uri: str
    revision: str | None
    partitions_name: str
    settings: Mapping[str, Any]
    upstream: Upstream | None = None
    tried: Try | None = field(default=None, compare=False, repr=False)
    replaces: str | None = None
    restored: tuple[str, ...] = ()

    @property
    def new_partitions(self) -> list[str]:
        """Partition keys that the previous plan did not have, in order."""
        known = self.previous_plan.partitions if self.previous_plan else {}
        return [key for key in self.plan.partitions if key not in known]

    @property
    def dropped_partitions(self) -> list[str]:
        """Partition keys that only the previous plan had: never built, and all files are gone."""
        known = self.previous_plan.partitions if self.previous_plan else {}
        return [key for key in known if key not in self.plan.partitions]


def draft_catalog(
    workspace: Workspace,
    *,
    limit: int | None = None,
    limit_splits: Collection[str] = (),
    samples_per_shard: int | None = None,
    settings: Mapping[str, Any] | None = None,
    revision: str = "",
    update: bool = False,
) -> CatalogDraft:
    """Read the source's tables and grow the plan by what is new.

    Args:
        workspace: The dataset.
        limit: Maximum number of samples to plan; the others are held for a later refresh.
        limit_splits: Count the limit in these splits and hold the others; empty means all.
        samples_per_shard: Replaces the declared number, before the first plan only.
        settings: Replace the kind's own, before the first plan only.
        revision: Read the source at this revision instead of the declared one; rows that were
            never built follow it.
        update: Rows of built shards whose file or cells differ upstream take the new content.

    Raises:
        CatalogError: If a table is malformed, or the plan was made with another shard size.
        UsageError: If it was made with other settings, or the source has no revisions.
        SpecError: If the source is the dataset's own output.
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source does not respond.
    """
    spec = workspace.kind.spec
    workspace, repin = _at_revision(workspace, revision, update=update), bool(revision)
    source = workspace.source
    at = source.resolve_revision()
    with open_planned(workspace, _reader(workspace, settings or {})) as before:
        stored = before.catalog
        previous = stored.read_keys() if stored is not None else None
        decided = resolve_settings(
            workspace, previous.schema if previous is not None else None, settings or {}
        )
        rows = workspace.kind.read_rows(
            workspace.source,
            revision=at,
            # Released after the call: it takes half a GB for a million clips.
            previous=stored.read_slim() if stored is not None else None,
            settings=decided,
        )
        if workspace.kind.ct_source is not None:
            workspace.kind.ct_source.check_rows(rows, own=workspace.paths.folder)
        rows = store_settings(rows, decided)
        rows = _with_file_stats(rows, source)
        found = None
        if at is not None:
            found = follow_upstream(
                workspace, stored, rows, revision=at, repin=repin, update=update
            )
            rows = store_upstream(found.rows, found.upstream)
        table = plan_catalog(
            rows,
            previous,
            samples_per_shard=samples_per_shard
            or (None if previous is not None else spec.samples_per_shard),
            limit=limit,
            limit_splits=limit_splits,
            pinned=source.pinned,
            fetch=stored.fetch if stored is not None else None,
            has_file=_locator(workspace),
            follow=found.follow if found is not None else None,
            complete=_pinner(source, found) if found is not None else None,
        )
    table = name_dataset(table, spec.name)
    return CatalogDraft(
        table=table,
        plan=plan_of(table),
        previous_plan=plan_of(previous) if previous is not None else None,
        source_uri=source.uri,
        revision=at,
        partitions_name=spec.partitions_name,
        settings=decided,
        upstream=found.upstream if found is not None else None,
        replaces=before.version,
        restored=before.restored,
    )


def _reader(workspace: Workspace, asked: Mapping[str, Any]) -> ReadRows:
    """Return the function that reads the source for a plan that is restored."""
    source = workspace.source

    def read(revision: str | None) -> pa.Table:
        is_there = revision is not None and source.pinned and source.has_revision(revision)
        at = revision if is_there else source.resolve_revision()
        settings = {**workspace.kind.plan_settings(), **asked}
        rows = workspace.kind.read_rows(source, revision=at, previous=None, settings=settings)
        return _with_file_stats(rows, source)

    return read


def _at_revision(workspace: Workspace, revision: str, *, update: bool) -> Workspace:
    if update and not workspace.source.pinned:
        what = f"{workspace.source.uri} has no revisions; changed files are found at each build"
        raise UsageError(field="--update", what=what)
    if not revision:
        return workspace
    return replace(workspace, source=workspace.source.at_revision(revision))


def _pinner(source: Source, found: Following) -> Callable[[pa.Table], pa.Table]:
    return lambda table: pin_files(
        table, source, revision=found.upstream.revision, files=found.files
    )


def check_settings(workspace: Workspace, asked: Mapping[str, Any]) -> None:
    """Refuse settings that a refresh would refuse, before the source is accessed.

    Raises:
        UsageError: See `resolve_settings`.
    """
    with open_previous(workspace.paths.catalog, workspace.kind.spec.name) as stored:
        resolve_settings(workspace, stored.schema if stored is not None else None, asked)


def resolve_settings(
    workspace: Workspace, previous: pa.Schema | None, asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the settings of the plan: those it was made with, or for a first one those asked for.

    Args:
        workspace: The dataset.
        previous: Schema of the catalog that the plan grows from.
        asked: Settings that the user gave.

    Raises:
        UsageError: If others are asked for than the plan was made with, or the kind has none of
            that name.
    """
    own = dict(workspace.kind.plan_settings())
    kept = read_settings(previous)
    for name, value in asked.items():
        if name not in own:
            raise UsageError(field=name, what=f"{workspace.kind.spec.name} has no such setting")
        if kept.get(name, value) != value:
            what = (
                f"the plan of {workspace.kind.spec.name} was made with {kept[name]!r}, got "
                f"{value!r}. A plan only grows: leave the option out, or build in another "
                f"MEDASSETS_HOME"
            )
            raise UsageError(field=name, what=what)
    return {**own, **asked, **kept}


def _locator(workspace: Workspace) -> Callable[[str], bool] | None:
    """Return the test for the file of a row; None where shards never outlive their sources."""
    source = workspace.kind.ct_source
    return source.has_file if source is not None and source.is_only_copy else None


def _with_file_stats(rows: pa.Table, source: Source) -> pa.Table:
    """Add size and mtime: without a revision, only they show that a file was replaced."""
    if source.pinned or "mtime_ns" in rows.column_names:
        return rows
    paths = rows["path"].to_pylist()
    wanted = zip(paths, rows["excluded"].to_pylist(), strict=True)
    planned = dict.fromkeys(p for p, excluded in wanted if excluded is None)
    files = source.describe(list(planned), revision=None)
    for name in ("num_bytes", "mtime_ns"):
        values = [getattr(files.get(path), name, None) for path in paths]
        rows = rows.append_column(name, pa.array(values, pa.int64()))
    return rows


def publish_catalog(paths: DatasetPaths, draft: CatalogDraft) -> None:
    """Write a catalog, unless another refresh wrote one first.

    A catalog that already says the same is left as it is.

    Raises:
        CatalogError: If the catalog on disk is not the one the draft grew from; two plans that
            grew apart would give one sample to two shards. Or if a shard would get more samples whose
            sources were deleted since the draft was made.
    """
    path = paths.catalog
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(paths.catalog_lock):
        current = read_plan(path) if path.exists() else None
        if current and (current.version, current.notes) == (draft.plan.version, draft.plan.notes):
            return
        if (current and current.version) != draft.replaces:
            msg = f"{path}: another refresh wrote the catalog meanwhile; run the refresh again"
            raise CatalogError(msg)
        if draft.previous_plan:
            _check_not_reclaimed(paths, draft.previous_plan, draft.plan)
        write_catalog(draft.table, path)


def _check_not_reclaimed(paths: DatasetPaths, current: CatalogPlan, plan: CatalogPlan) -> None:
    """Refuse to add samples to a shard that cannot be rebuilt."""
    for key, count in current.partitions.items():
        if plan.partitions.get(key) == count:
            continue
        if not ReclaimJournal.read(paths.reclaim_journal(key)).is_empty:
            msg = f"{key}: its sources were deleted meanwhile; run the refresh again"
            raise CatalogError(msg)

"""The catalog: what the source holds today, laid into a plan that only grows."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError
from medassets.shards.catalog import (
    CatalogPlan,
    plan_catalog,
    plan_of,
    read_plan,
    write_catalog,
)
from medassets.sources.base import Source
from medassets.storage.locks import lock_file


@dataclass(frozen=True)
class CatalogDraft:
    """A planned catalog that is not written yet.

    Attributes:
        table: All rows, see `medassets.shards.catalog`.
        plan: Its plan.
        previous_plan: Plan of the catalog it grew from, None for the first one.
        source_uri: Where the rows come from.
        revision: Revision the source stands at now.
        partitions_name: Dynamic partitions definition that takes the plan's keys.
    """

    table: pa.Table
    plan: CatalogPlan
    previous_plan: CatalogPlan | None
    source_uri: str
    revision: str | None
    partitions_name: str

    @property
    def new_partitions(self) -> list[str]:
        """Partition keys that the previous plan did not have, in order."""
        known = self.previous_plan.partitions if self.previous_plan else {}
        return [key for key in self.plan.partitions if key not in known]


def draft_catalog(
    workspace: Workspace,
    *,
    limit: int | None = None,
    limit_splits: Collection[str] = (),
    samples_per_shard: int | None = None,
) -> CatalogDraft:
    """Read the source's tables and grow the plan by what is new.

    Args:
        workspace: The dataset.
        limit: Plan at most so many samples in all; the others are held for a later refresh.
        limit_splits: Count the limit in these splits and hold the others; empty means all.
        samples_per_shard: Replaces the declared number, before the first plan only.

    Raises:
        CatalogError: If a table is malformed, or the plan was made with another shard size.
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source stays silent.
    """
    spec = workspace.kind.spec
    revision = workspace.source.resolve_revision()
    previous = workspace.read_catalog()
    rows = pa.concat_tables(
        [workspace.kind.read_rows(workspace.source, s, revision=revision) for s in spec.splits],
        promote_options="default",
    )
    if not workspace.source.pinned:
        rows = _with_file_stats(rows, workspace.source)
    table = plan_catalog(
        rows,
        previous,
        samples_per_shard=samples_per_shard
        or (None if previous is not None else spec.samples_per_shard),
        limit=limit,
        limit_splits=limit_splits,
        pinned=workspace.source.pinned,
    )
    return CatalogDraft(
        table=table,
        plan=plan_of(table),
        previous_plan=plan_of(previous) if previous is not None else None,
        source_uri=workspace.source.uri,
        revision=revision,
        partitions_name=spec.partitions_name,
    )


def _with_file_stats(rows: pa.Table, source: Source) -> pa.Table:
    """Add size and mtime: without a revision they alone tell that a file is another one."""
    paths = rows["path"].to_pylist()
    wanted = zip(paths, rows["excluded"].to_pylist(), strict=True)
    files = source.describe([p for p, excluded in wanted if excluded is None], revision=None)
    for name in ("num_bytes", "mtime_ns"):
        values = [getattr(files.get(path), name, None) for path in paths]
        rows = rows.append_column(name, pa.array(values, pa.int64()))
    return rows


def publish_catalog(path: Path, draft: CatalogDraft) -> None:
    """Write a catalog, unless another refresh was quicker.

    A catalog that already says the same is left as it is.

    Raises:
        CatalogError: If the catalog on disk is not the one the draft grew from; two plans that
            grew apart would give one sample to two shards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(path.with_name(".catalog.lock")):
        current = read_plan(path).version if path.exists() else None
        if current == draft.plan.version:
            return
        grown_from = draft.previous_plan.version if draft.previous_plan else None
        if current != grown_from:
            msg = f"{path}: another refresh wrote the catalog meanwhile; run the refresh again"
            raise CatalogError(msg)
        write_catalog(draft.table, path)

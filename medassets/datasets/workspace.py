"""Source, staging area and shards of one dataset."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from medassets.datasets.kind import DatasetKind
from medassets.datasets.recovery.places import count_records, has_shards
from medassets.datasets.upstream.pins import Pin, pin_of, read_pin
from medassets.errors import (
    CatalogError,
    LostCatalogError,
    Reason,
    RevisionGoneError,
    SampleRejectedError,
    SpecError,
)
from medassets.samples import SourceItem, StagedFile
from medassets.shards.catalog.files import read_catalog, read_figures, read_partition, read_plan
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.catalog.previous import explain_unreadable
from medassets.shards.catalog.settings import read_settings
from medassets.shards.plan_copy import PlanCopy
from medassets.sources.base import RemoteFile, Source
from medassets.sources.staging import Staging
from medassets.stages import VolumeStage
from medassets.storage.paths import DatasetPaths, data_home, local_path, staging_home


@dataclass(frozen=True)
class Workspace:
    """Everything outside the process that a dataset touches.

    Attributes:
        kind: The declared dataset.
        source: Where raw files come from.
        staging: Where fetched files are kept on a local disk.
        paths: Where catalog, shards and manifests are stored.
        num_downloads: Files fetched at the same time.
    """

    kind: DatasetKind
    source: Source
    staging: Staging
    paths: DatasetPaths
    num_downloads: int = 4

    @property
    def is_only_copy(self) -> bool:
        """Whether a shard may be the only copy of a sample, because users delete source files."""
        return self.kind.ct_source is not None and self.kind.ct_source.is_only_copy

    @property
    def source_folder(self) -> Path:
        """Top of the tree of a local source.

        Raises:
            SpecError: If the source is on another machine.
        """
        if self.source.folder is None:
            what = f"the files of {self.source.uri} are not on this machine"
            raise SpecError(field="source", what=what)
        return self.source.folder

    @property
    def has_catalog(self) -> bool:
        """Whether anything is at the place of the catalog."""
        return os.path.lexists(self.paths.catalog)

    def read_catalog(self) -> pa.Table | None:
        """Return the whole catalog, None before the first refresh."""
        return read_catalog(self.paths.catalog) if self.paths.catalog.exists() else None

    def read_plan(self) -> CatalogPlan:
        """Return the plan, reading the catalog's footer only.

        Raises:
            CatalogError: If there is no catalog yet, or it is that of another dataset.
        """
        self._require_catalog()
        return read_plan(self.paths.catalog, self.kind.spec.name)

    def read_figures(self) -> pa.Table:
        """Return the catalog without its rows: only the file's footer is read.

        Raises:
            CatalogError: If there is no catalog yet.
        """
        self._require_catalog()
        return read_figures(self.paths.catalog)

    def read_exclusions(self) -> pa.Table:
        """Return reason and detail of every row of the catalog, null where it has a place.

        Raises:
            CatalogError: If there is no catalog yet.
        """
        self._require_catalog()
        with explain_unreadable(self.paths.catalog):
            return pq.read_table(self.paths.catalog, columns=["excluded", "detail"])

    def read_partition(self, partition_key: str) -> list[SourceItem]:
        """Return the planned samples of one shard, reading its own rows only.

        Raises:
            CatalogError: If there is no catalog yet, or it does not know the partition.
        """
        self._require_catalog()
        return read_partition(self.paths.catalog, partition_key)

    def copy_plan(self, items: Sequence[SourceItem]) -> PlanCopy:
        """Return the part of the plan that the record of a shard keeps.

        Args:
            items: The shard's rows.

        Raises:
            CatalogError: If there is no catalog yet.
        """
        settings = read_settings(self.read_figures().schema)
        size = self.read_plan().samples_per_shard
        return PlanCopy.of(items, samples_per_shard=size, settings=settings)

    def _require_catalog(self) -> None:
        if self.has_catalog:
            return
        if has_shards(self.paths):
            raise LostCatalogError(self.explain_missing_catalog())
        name = self.kind.spec.name
        msg = (
            f"{name}: there is no catalog yet; `{self.paths.build_command}` makes it, or "
            f"materialize {name}/catalog"
        )
        raise CatalogError(msg)

    def explain_missing_catalog(self) -> str:
        """Return what to do about a catalog that is gone while shards made from it are on disk."""
        return (
            f"{self.paths.catalog}: the catalog is gone, but {self.kind.spec.name} has "
            f"{count_records(self.paths)} shards on disk; `{self.paths.reconcile_command}` restores "
            f"the plan from their records"
        )

    def stage(
        self,
        items: Sequence[SourceItem],
        *,
        on_bytes: Callable[[int], None] | None = None,
    ) -> Mapping[str, StagedFile | SampleRejectedError]:
        """Bring the items' files to the local disk, checked; by sample key.

        A file that the source does not have, or that never matches its checksum, is a rejection
        of that sample alone.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
            DiskSpaceError: If the staging budget cannot hold the files.
        """
        staged: dict[str, StagedFile | SampleRejectedError] = {}
        groups: dict[str | None, list[str]] = {}
        for item in items:
            groups.setdefault(item.revision, []).extend(self.list_paths(item))
        pins = {item.path: read_pin(item.row) for item in items}
        for revision, group in groups.items():
            staged |= self._stage_group(group, revision, pins, on_bytes)
        return {item.key: _join(item, self.list_paths(item), staged) for item in items}

    def list_paths(self, item: SourceItem) -> tuple[str, ...]:
        """Return the paths of all files of an item inside the source."""
        source = self.kind.ct_source
        return (item.path,) if source is None else source.list_paths(item.row)

    def _stage_group(
        self,
        paths: Sequence[str],
        revision: str | None,
        pins: Mapping[str, Pin | None],
        on_bytes: Callable[[int], None] | None,
    ) -> dict[str, StagedFile | SampleRejectedError]:
        # Staged files need no request to the source: a build continues while the hub is unavailable.
        found = self.staging.lookup(paths, revision=revision) if self.source.pinned else {}
        wanted = [path for path in paths if path not in found]
        files = self._describe(wanted, revision, pins) if wanted else {}
        fetched = self.staging.stage(
            self.source, list(files.values()), num_workers=self.num_downloads, on_bytes=on_bytes
        )
        return {**found, **fetched}

    def _describe(
        self, paths: Sequence[str], revision: str | None, pins: Mapping[str, Pin | None]
    ) -> Mapping[str, RemoteFile]:
        """Describe files at a revision; if it is gone, the same bytes where the source is now."""
        try:
            return self.source.describe(paths, revision=revision)
        except RevisionGoneError:
            now = self.source.describe(paths, revision=self.source.resolve_revision())
            if not all(path in now and pin_of(now[path]) == pins.get(path) for path in paths):
                raise
            return now

    def release(self, items: Sequence[SourceItem]) -> None:
        """Empty the staging area of the items' files, unless the declaration keeps them."""
        if not self.kind.spec.keep_raw:
            self.staging.release([path for item in items for path in self.list_paths(item)])


def _join(
    item: SourceItem,
    paths: Sequence[str],
    staged: Mapping[str, StagedFile | SampleRejectedError],
) -> StagedFile | SampleRejectedError:
    """Return all files of an item, or why one of them is not available."""
    files: list[StagedFile] = []
    for path in paths:
        file = staged.get(path) or _missing(item, path)
        if isinstance(file, SampleRejectedError):
            return file
        files.append(file)
    return replace(files[0], others=tuple(files[1:])) if files[1:] else files[0]


def _missing(item: SourceItem, path: str) -> SampleRejectedError:
    revision = f" at revision {item.revision}" if item.revision else ""
    return SampleRejectedError(
        Reason.MISSING_UPSTREAM,
        f"{path} does not exist in the source{revision}, or is a link that leads out of it",
    )


def open_workspace(
    kind: DatasetKind,
    *,
    data_root: str = "",
    staging_root: str = "",
    num_downloads: int = 4,
) -> Workspace:
    """Return the workspace of a dataset; touches neither network nor disk.

    Args:
        kind: The declared dataset.
        data_root: Folder of published datasets; empty means `$MEDASSETS_HOME/data`.
        staging_root: Folder of staged files; empty means `$MEDASSETS_HOME/staging`.
        num_downloads: Files fetched at the same time.
    """
    spec = kind.spec
    staging = local_path(staging_root or staging_home(), field="staging_root")
    return Workspace(
        kind=kind,
        source=kind.open_source(),
        staging=Staging(staging / spec.name, budget_bytes=int(spec.staging_budget_gb * 1e9)),
        paths=dataset_paths(spec.name, data_root=data_root, stage=kind.stage),
        num_downloads=num_downloads,
    )


def dataset_paths(
    dataset: str, *, data_root: str = "", stage: str = VolumeStage.SHARDS
) -> DatasetPaths:
    """Return where a dataset's files are stored; an empty root means `$MEDASSETS_HOME/data`."""
    return DatasetPaths(local_path(data_root or data_home(), field="data_root"), dataset, stage)

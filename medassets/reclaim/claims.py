"""Other declared datasets that are made from the same source files, and may still need them."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from medassets.datasets.build import today_fingerprint
from medassets.datasets.kind import DatasetKind
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError, Reason, ReclaimError
from medassets.shards.catalog.plan import STATE_PLANNED, CatalogPlan
from medassets.shards.files import read_whole_record
from medassets.shards.replacement import SOURCE_TROUBLE
from medassets.specs import DatasetSpec

_COLUMNS = ["key", "path", "state", "partition", "excluded"]
_TRANSIENT = frozenset({Reason.MISSING_UPSTREAM, Reason.UNREADABLE_SOURCE, Reason.OUT_OF_MEMORY})
"""Reasons that no longer apply once the file, or the memory for it, is available again."""


@dataclass(frozen=True)
class Declarations:
    """All declarations of a code location.

    Attributes:
        specs: The valid ones.
        problems: Errors of the others; which files they declare is unknown.
    """

    specs: tuple[DatasetSpec, ...] = ()
    problems: tuple[str, ...] = ()

    def open_others(self, dataset: str, open_one: Callable[[DatasetKind], Workspace]) -> "Others":
        """Return the other CT datasets that are made from files of this machine.

        Args:
            dataset: Name of the dataset that is left out.
            open_one: Opens the workspace of a kind.
        """
        kinds = [open_kind(spec) for spec in self.specs if spec.name != dataset]
        local = [kind for kind in kinds if kind.ct_source is not None and kind.ct_source.is_local]
        return Others(tuple(map(open_one, local)), self.problems)


@dataclass(frozen=True)
class Others:
    """The other declared datasets.

    Attributes:
        workspaces: Those that are made from files of this machine.
        problems: Declarations that cannot be read.
    """

    workspaces: tuple[Workspace, ...] = ()
    problems: tuple[str, ...] = ()


class Needs:
    """Which files of a source other datasets still need: those of samples they have not made.

    Args:
        workspace: The dataset that would delete them.
        others: The other declared datasets.

    Raises:
        ReclaimError: If a declaration, or the source of another dataset in the same folder, cannot be
            read, so that what it needs is unknown.
    """

    def __init__(self, workspace: Workspace, others: Others) -> None:
        if others.problems:
            msg = (
                f"{others.problems[0]}. A declaration that cannot be read may be about the same "
                f"files; correct it, or remove it"
            )
            raise ReclaimError(msg)
        own = os.path.realpath(workspace.source_folder)
        self._plans = [
            _plan_today(workspace, other)
            for other in others.workspaces
            # No source follows a link out of its folder.
            if _overlap(own, os.path.realpath(other.source_folder))
        ]
        self._work: dict[tuple[str, str], Mapping[str, str]] = {}

    def find_claim(self, places: Iterable[Path]) -> str:
        """Return why another dataset still needs one of some files; empty if none does."""
        # Of many files the folder is resolved for each, which costs 20 us.
        paths = [os.path.realpath(place) for place in places] if self._plans else []
        return next(filter(None, map(self._find_claim, paths)), "")

    def _find_claim(self, path: str) -> str:
        for plan in self._plans:
            dataset = plan.workspace.kind.spec.name
            whys = [plan.unread.get(path, "")]
            for key, sample in plan.samples.get(path, ()):
                if (dataset, key) not in self._work:
                    self._work[dataset, key] = plan.find_work(key)
                whys.append(self._work[dataset, key].get(sample, ""))
            if why := next(filter(None, whys), ""):
                return (
                    f"the dataset {dataset} still needs it: {why}. If {dataset} is no longer "
                    f"wanted, remove its declaration"
                )
        return ""

    def forget_work(self) -> None:
        """Check the shards of the others again: some may have been lost meanwhile."""
        self._work.clear()


@dataclass(frozen=True)
class _Plan:
    """The plan of another dataset, as a refresh would make it now.

    Attributes:
        workspace: The dataset.
        plan: Its plan, if it were refreshed now.
        samples: Real path of a file -> shard and key of each sample of it.
        paths: Shard -> key of a sample -> real path of its file.
        unread: Real path of a file that could not be read, so that it has no sample -> what to do.
    """

    workspace: Workspace
    plan: CatalogPlan = field(repr=False)
    samples: Mapping[str, Sequence[tuple[str, str]]] = field(repr=False)
    paths: Mapping[str, Mapping[str, str]] = field(repr=False)
    unread: Mapping[str, str] = field(repr=False)

    def find_work(self, partition_key: str) -> Mapping[str, str]:
        """Return the samples of a shard that have yet to be made, each with the command that does it.

        A sample that was rejected for its content needs no file. One whose file is damaged keeps
        that file. If a file was unavailable and is there again, the whole shard is made again.
        """
        build, paths = self.workspace.paths.build_command, self.paths[partition_key]
        today = today_fingerprint(self.workspace, self.plan, partition_key)
        record = read_whole_record(self.workspace.paths, partition_key, today)
        if record is None:
            return dict.fromkeys(paths, f"{partition_key} is to be made of it by `{build}`")
        unread = {
            one.key: f"{partition_key} could not read {one.key} ({one.reason}); `{build} --partitions "
            f"{partition_key} --force` tries again"
            for one in record.rejected
            if one.reason in SOURCE_TROUBLE
        }
        for one in record.rejected:
            if one.reason in _TRANSIENT and Path(paths[one.key]).exists():
                return dict.fromkeys(paths, unread[one.key])
        return unread


@dataclass(frozen=True)
class _DraftKey:
    """Cache key of a draft: the workspace, and the state on which its plan depends."""

    state: tuple[object, ...]
    workspace: Workspace = field(compare=False, repr=False)


def _plan_today(workspace: Workspace, other: Workspace) -> _Plan:
    # As recent as the catalog of the dataset that deletes, which lists no newer file.
    catalogs = (workspace.paths.catalog, other.paths.catalog)
    state = (str(other.paths.folder), repr(other.kind.spec), *map(_find_version, catalogs))
    try:
        return _draft(_DraftKey(state, other))
    except (MedassetsError, OSError) as error:
        name = other.kind.spec.name
        msg = (
            f"the dataset {name} is declared over the same folder, and what it needs is unknown: "
            f"{error}. If {name} is no longer wanted, remove its declaration"
        )
        raise ReclaimError(msg) from error


def _find_version(catalog: Path) -> tuple[int, int] | None:
    try:
        found = catalog.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


def forget_drafts() -> None:
    """Read the sources of other datasets again: files are at other places, and no catalog tells."""
    _draft.cache_clear()


@lru_cache(maxsize=64)
def _draft(key: _DraftKey) -> _Plan:
    """Read tables and files of a dataset once for all shards of the one that deletes."""
    workspace = key.workspace
    draft = draft_catalog(workspace)
    folder = os.path.realpath(workspace.source_folder)
    samples: dict[str, list[tuple[str, str]]] = {}
    paths: dict[str, dict[str, str]] = {key: {} for key in draft.plan.partitions}
    unread: dict[str, str] = {}

    # The samples of a tar are in consecutive rows.
    @lru_cache(maxsize=1)
    def find_real(path: str) -> str:
        return os.path.realpath(f"{folder}/{path}")

    for row in draft.table.select(_COLUMNS).to_pylist():
        for path in map(find_real, _list_files(workspace, row)):
            if row["state"] == STATE_PLANNED:
                samples.setdefault(path, []).append((row["partition"], row["key"]))
                paths[row["partition"]].setdefault(row["key"], path)
            elif row["excluded"] in SOURCE_TROUBLE:
                unread[path] = (
                    f"its plan could not read it ({row['excluded']}), `medassets plan "
                    f"{workspace.kind.spec.name}` says why; repair the file, or try again"
                )
    return _Plan(workspace, draft.plan, samples, paths, unread)


def _list_files(workspace: Workspace, row: Mapping[str, Any]) -> Sequence[str]:
    """Return the paths of the files of a row, inside the source; of a series it names only the key."""
    source = workspace.kind.ct_source
    if source is not None and source.series is not None:
        return source.series.list_places(row["path"] or row["key"])
    return () if row["path"] is None else (workspace.source.physical_path(row["path"]),)


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)

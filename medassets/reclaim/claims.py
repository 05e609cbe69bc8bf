"""Other declared datasets that are made from the same source files, and may still need them."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.kind import DatasetKind
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError, Reason, ReclaimError
from medassets.shards.catalog import STATE_PLANNED, CatalogPlan
from medassets.shards.files import read_whole_record
from medassets.shards.replacement import SOURCE_TROUBLE
from medassets.specs import DatasetSpec

_COLUMNS = ["key", "path", "state", "partition", "excluded"]
_PASSING = frozenset({Reason.MISSING_UPSTREAM, Reason.UNREADABLE_SOURCE})
"""Trouble with a file that is over when the file is there again."""


@dataclass(frozen=True)
class Declarations:
    """All declarations of a code location.

    Attributes:
        specs: The good ones.
        problems: What is wrong with others: nobody knows which files they are about.
    """

    specs: tuple[DatasetSpec, ...] = ()
    problems: tuple[str, ...] = ()

    def open_others(self, dataset: str, open_one: Callable[[DatasetKind], Workspace]) -> "Others":
        """Return the datasets of CT beside one that are made from files of this machine.

        Args:
            dataset: Name of the one.
            open_one: Opens the workspace of a kind.
        """
        kinds = [open_kind(spec) for spec in self.specs if spec.name != dataset]
        local = [kind for kind in kinds if kind.ct_source is not None and kind.ct_source.is_local]
        return Others(tuple(map(open_one, local)), self.problems)


@dataclass(frozen=True)
class Others:
    """Datasets declared beside one.

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
        others: Those beside it.

    Raises:
        ReclaimError: If a declaration, or the source of another dataset in the same folder, cannot be
            read: what it needs is not known then.
    """

    def __init__(self, workspace: Workspace, others: Others) -> None:
        if others.problems:
            msg = (
                f"{others.problems[0]}. A declaration that cannot be read may be about the same "
                f"files; mend it, or take it away"
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

    def find_claim(self, place: Path) -> str:
        """Return why another dataset still needs a file; empty if none does."""
        path = os.path.realpath(place)
        for plan in self._plans:
            dataset = plan.workspace.kind.spec.name
            whys = [plan.unread.get(path, "")]
            for key, sample in plan.samples.get(path, ()):
                if (dataset, key) not in self._work:
                    self._work[dataset, key] = plan.find_work(key)
                whys.append(self._work[dataset, key].get(sample, ""))
            if why := next(filter(None, whys), ""):
                return (
                    f"the dataset {dataset} still needs it: {why}. If {dataset} is given up, take its "
                    f"declaration away"
                )
        return ""

    def look_again(self) -> None:
        """Forget which shards of the others are whole: they may have been lost meanwhile."""
        self._work.clear()


@dataclass(frozen=True)
class _Plan:
    """What another dataset would be made of today.

    Attributes:
        workspace: The dataset.
        plan: Its plan, if it were refreshed now.
        samples: Real path of a file -> shard and key of each sample of it.
        paths: Shard -> key of a sample -> real path of its file.
        unread: Real path of a file that gave no sample, as it could not be read -> what to do.
    """

    workspace: Workspace
    plan: CatalogPlan = field(repr=False)
    samples: Mapping[str, Sequence[tuple[str, str]]] = field(repr=False)
    paths: Mapping[str, Mapping[str, str]] = field(repr=False)
    unread: Mapping[str, str] = field(repr=False)

    def find_work(self, partition_key: str) -> Mapping[str, str]:
        """Return by sample what of a shard is still to be made, and how.

        A sample that was refused for its content is settled. One whose file is damaged keeps that
        file. With one whose file could not be had for a while, the whole shard is to be made again.
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
            if one.reason in _PASSING and Path(paths[one.key]).exists():
                return dict.fromkeys(paths, unread[one.key])
        return unread


@dataclass(frozen=True)
class _Moment:
    """Of which workspace the plan is wanted, and what tells that it may be another by now."""

    state: tuple[object, ...]
    workspace: Workspace = field(compare=False, repr=False)


def _plan_today(workspace: Workspace, other: Workspace) -> _Plan:
    # As new as the catalog of the dataset that deletes: no file of that is younger.
    catalogs = (workspace.paths.catalog, other.paths.catalog)
    state = (str(other.paths.folder), repr(other.kind.spec), *map(_find_version, catalogs))
    try:
        return _draft(_Moment(state, other))
    except (MedassetsError, OSError) as error:
        name = other.kind.spec.name
        msg = (
            f"the dataset {name} is declared over the same folder, and what it needs cannot be told: "
            f"{error}. If {name} is given up, take its declaration away"
        )
        raise ReclaimError(msg) from error


def _find_version(catalog: Path) -> tuple[int, int] | None:
    try:
        found = catalog.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=64)
def _draft(moment: _Moment) -> _Plan:
    """Read tables and files of a dataset once for all shards of the one that deletes."""
    workspace = moment.workspace
    draft = draft_catalog(workspace)
    folder = os.path.realpath(workspace.source_folder)
    samples: dict[str, list[tuple[str, str]]] = {}
    paths: dict[str, dict[str, str]] = {key: {} for key in draft.plan.partitions}
    unread: dict[str, str] = {}

    # The samples of a tar stand one after the other.
    @lru_cache(maxsize=1)
    def find_real(path: str) -> str:
        return os.path.realpath(f"{folder}/{path}")

    for row in draft.table.select(_COLUMNS).to_pylist():
        if row["path"] is None:
            continue
        path = find_real(workspace.source.physical_path(row["path"]))
        if row["state"] == STATE_PLANNED:
            samples.setdefault(path, []).append((row["partition"], row["key"]))
            paths[row["partition"]][row["key"]] = path
        elif row["excluded"] in SOURCE_TROUBLE:
            unread[path] = (
                f"its plan could not read it ({row['excluded']}), `medassets plan "
                f"{workspace.kind.spec.name}` says why; mend the file, or try again"
            )
    return _Plan(workspace, draft.plan, samples, paths, unread)


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)

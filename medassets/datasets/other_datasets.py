"""Other declared datasets that are made from the same source files, and may still need them."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.kind import DatasetKind
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.source_files import open_source_folder
from medassets.datasets.workspace import Workspace
from medassets.errors import TRANSIENT_REASONS, MedassetsError, ReclaimError
from medassets.shards.catalog import STATE_PLANNED, CatalogPlan
from medassets.shards.writer import read_whole_record
from medassets.specs import CTSourceSpec, DatasetSpec


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
        found: list[Workspace] = []
        problems = list(self.problems)
        for spec in self.specs:
            if not isinstance(spec, CTSourceSpec) or spec.name == dataset:
                continue
            try:
                workspace = open_one(open_kind(spec))
            except MedassetsError as error:
                problems.append(f"{spec.name}: {error}")
                continue
            if workspace.source.is_local:
                found.append(workspace)
        return Others(tuple(found), tuple(problems))


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
        own = os.path.realpath(open_source_folder(workspace))
        self._plans = [
            _plan_today(workspace, other)
            for other in others.workspaces
            # No source follows a link out of its folder.
            if _overlap(own, os.path.realpath(open_source_folder(other)))
        ]
        self._left: dict[tuple[str, str], Collection[str]] = {}

    def find_claim(self, place: Path) -> str:
        """Return why another dataset still needs a file; empty if none does."""
        path = os.path.realpath(place)
        for plan in self._plans:
            dataset = plan.workspace.kind.spec.name
            for key, sample in plan.samples.get(path, ()):
                if (dataset, key) not in self._left:
                    self._left[dataset, key] = plan.find_unmade(key)
                if sample in self._left[dataset, key]:
                    return (
                        f"the dataset {dataset} still needs it: {key} is to be made of it by "
                        f"`{plan.workspace.paths.build_command}`. If {dataset} is given up, take its "
                        f"declaration away"
                    )
        return ""

    def look_again(self) -> None:
        """Forget which shards of the others are whole: they may have been lost meanwhile."""
        self._left.clear()


@dataclass(frozen=True)
class _Plan:
    """What another dataset would be made of today.

    Attributes:
        workspace: The dataset.
        plan: Its plan, if it were refreshed now.
        samples: Real path of a file -> shard and key of each sample of it.
        keys: Shard -> keys of its samples.
    """

    workspace: Workspace
    plan: CatalogPlan = field(repr=False)
    samples: Mapping[str, Sequence[tuple[str, str]]] = field(repr=False)
    keys: Mapping[str, Collection[str]] = field(repr=False)

    def find_unmade(self, partition_key: str) -> set[str]:
        """Return the samples that are not in their shard, nor refused by it for good."""
        today = today_fingerprint(self.workspace, self.plan, partition_key)
        record = read_whole_record(self.workspace.paths, partition_key, today)
        settled: set[str] = set()
        if record is not None:
            refused = {r.key for r in record.rejected if r.reason not in TRANSIENT_REASONS}
            settled = refused | {sample.key for sample in record.samples}
        return set(self.keys[partition_key]) - settled


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


@lru_cache(maxsize=16)
def _draft(moment: _Moment) -> _Plan:
    """Read tables and files of a dataset once for all shards of the one that deletes."""
    workspace = moment.workspace
    draft = draft_catalog(workspace)
    folder = os.path.realpath(open_source_folder(workspace))
    samples: dict[str, list[tuple[str, str]]] = {}
    keys: dict[str, set[str]] = {key: set() for key in draft.plan.partitions}
    real: dict[str, str] = {}
    for name, virtual, state, partition in zip(
        *(draft.table[name].to_pylist() for name in ("key", "path", "state", "partition")),
        strict=True,
    ):
        if state != STATE_PLANNED:
            continue
        path = workspace.source.physical_path(virtual)
        if path not in real:
            real[path] = os.path.realpath(f"{folder}/{path}")
        samples.setdefault(real[path], []).append((partition, name))
        keys[partition].add(name)
    return _Plan(workspace, draft.plan, samples, keys)


def _overlap(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)

"""A look at the headers of local files before they are read whole: what they claim is judged first."""

import random
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from medassets.datasets.upstream.built_samples import Stage
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import SourceItem, Staged
from medassets.shards.catalog.files import as_item
from medassets.shards.catalog.plan import STATE_PLANNED
from medassets.storage.unreadable import require_regular, unreadable_as_rejection

# Fetching finds these as well, and says which of the files they are about.
_OF_FETCHING = frozenset(
    {
        *(Reason.MISSING_UPSTREAM, Reason.MISSING_SOURCE),
        *(Reason.UNREADABLE_SOURCE, Reason.CORRUPT_TAR),
    }
)


def judging_headers(workspace: Workspace, stage: Stage) -> Stage:
    """Return a staging that does not read local files whose headers reject them.

    A file of a terabyte takes an hour to hash, and a few bytes make one where nothing was written.

    Args:
        workspace: The dataset.
        stage: Brings files to the local disk; for local ones, it hashes them.
    """
    if not workspace.source.is_local:
        return stage

    def judge_and_stage(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        judged = {item.key: judge_item(workspace, item) for item in items}
        left = [item for item in items if judged[item.key] is None]
        staged = dict(stage(left)) if left else {}
        return staged | {key: found for key, found in judged.items() if found is not None}

    return judge_and_stage


def judge_item(workspace: Workspace, item: SourceItem) -> SampleRejectedError | None:
    """Return why the headers of an item's files make no sample; None if they may."""
    try:
        paths = _locate(workspace, item)
        if paths:
            workspace.kind.judge(item, paths)
    except SampleRejectedError as error:
        # Its traceback would keep the frames of the readers alive as long as the result.
        return None if error.reason in _OF_FETCHING else error.with_traceback(None)
    except (CatalogError, OSError):
        # Fetching meets the same, and says so.
        return None
    return None


def _locate(workspace: Workspace, item: SourceItem) -> list[Path]:
    """Return the places of an item's files; nothing if one does not exist."""
    source, top = workspace.source, workspace.source_folder
    places = [top / source.physical_path(path) for path in workspace.list_paths(item)]
    return places if all(place.is_file() for place in places) else []


LOOK_SECONDS = 3.0
"""Limit of time for a look at headers, beside the one that is being read when it is over."""


@dataclass(frozen=True)
class HeaderLook:
    """What headers of planned files show, without a voxel of them.

    Attributes:
        num_planned: Planned samples that are still to be made.
        num_looked: Samples whose headers were looked at.
        faults: Key -> why its files make no sample, of those that were looked at.
        largest_share: Largest share of a shard's samples that make none, for certain.
    """

    num_planned: int
    num_looked: int = 0
    faults: Mapping[str, str] = field(default_factory=dict)
    largest_share: float = 0.0


def look_at_headers(
    workspace: Workspace,
    table: pa.Table,
    *,
    without: Collection[str] = (),
    seconds: float = LOOK_SECONDS,
) -> HeaderLook | None:
    """Look at headers of planned files of this machine, in any order, as long as there is time.

    Args:
        workspace: The dataset.
        table: Its catalog.
        without: Shards whose samples are made already.
        seconds: Limit of time.

    Returns:
        None where there is nothing to look at: files of a hub, and videos, which the catalog has opened.
    """
    if workspace.kind.ct_source is None or not workspace.source.is_local:
        return None
    shards = table["partition"].to_pylist()
    states = enumerate(table["state"].to_pylist())
    rows = [i for i, state in states if state == STATE_PLANNED and shards[i] not in without]
    faults: dict[str, str] = {}
    lost: Counter[str] = Counter()
    num_looked, end = 0, time.monotonic() + seconds
    # Files of one folder are alike: a look that is cut short sees all folders.
    for row in random.Random(0).sample(rows, len(rows)):
        if num_looked and time.monotonic() >= end:
            break
        num_looked += 1
        item = as_item(table.slice(row, 1).to_pylist()[0])
        if fault := _find_fault(workspace, item):
            faults[item.key] = fault
            lost[shards[row]] += 1
    sizes = Counter(shards[row] for row in rows)
    share = max((count / sizes[key] for key, count in lost.items()), default=0.0)
    return HeaderLook(len(rows), num_looked, dict(sorted(faults.items())), share)


def _find_fault(workspace: Workspace, item: SourceItem) -> str:
    """Return why the files of an item make no sample; empty if they may."""
    source = workspace.kind.ct_source
    try:
        with unreadable_as_rejection():
            places = _locate(workspace, item)
            if not places and source is not None and not source.has_file(item.path):
                return f"{Reason.MISSING_SOURCE}: {item.path} does not exist"
            for place in places:
                require_regular(place)
            if places:
                workspace.kind.judge(item, places)
    except SampleRejectedError as error:
        return f"{error.reason}: {error.detail}"
    except (CatalogError, OSError):
        # The build meets the same, and says what to do.
        return ""
    return ""

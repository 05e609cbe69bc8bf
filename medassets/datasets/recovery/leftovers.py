"""What killed processes left beside shards, catalog and manifests, under private names."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.recovery.places import list_split_folders
from medassets.datasets.workspace import Workspace
from medassets.errors import LockTimeoutError
from medassets.shards.files import (
    find_unfinished,
    lock_path,
    partial_paths,
    pending_record,
    previous_record,
    read_whole_record,
    remove_leftovers,
)
from medassets.shards.publication import finish_publication
from medassets.storage.locks import lock_file
from medassets.storage.paths import format_partition_key
from medassets.storage.private_names import iter_abandoned

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{16}\.tmp")


def sweep_leftovers(workspace: Workspace, *, dry_run: bool = False) -> Iterator[str]:
    """Remove what processes that are dead left in the folders of a stage, one line each.

    An unfinished shard that is still to be made stays: the next build continues it. A shard that a
    living process works on is passed over.

    Args:
        workspace: The dataset and stage.
        dry_run: Only say what would be removed.
    """
    paths = workspace.paths
    for folder in [paths.folder, *list_split_folders(paths)]:
        yield from _sweep_temporary(folder, dry_run=dry_run)
    for folder in list_split_folders(paths):
        for name in sorted(find_unfinished(folder)):
            key = format_partition_key(folder.name, int(name.removeprefix("shard-")))
            with suppress(LockTimeoutError), lock_file(lock_path(paths.shard(key)), timeout_s=0.0):
                yield from _sweep_shard(workspace, key, dry_run=dry_run)


def _sweep_shard(workspace: Workspace, key: str, *, dry_run: bool) -> Iterator[str]:
    paths, shard = workspace.paths, workspace.paths.shard(key)
    if not dry_run:
        finish_publication(paths, key)
    plan = workspace.read_plan()
    is_planned = key in plan.partitions
    today = today_fingerprint(workspace, plan, key) if is_planned else None
    if is_planned and read_whole_record(paths, key, today) is None:
        # The next build continues it.
        removable = [] if not dry_run else [pending_record(shard), previous_record(shard)]
    else:
        removable = [pending_record(shard), previous_record(shard), *partial_paths(shard)]
    there = [path for path in removable if path.exists()]
    if there and not dry_run:
        remove_leftovers(shard)
    yield from (f"{path}: left by a killed process" for path in there)


def _sweep_temporary(folder: Path, *, dry_run: bool) -> Iterator[str]:
    """Remove files that a killed process was about to publish."""
    with suppress(OSError):
        names = (_TEMPORARY.fullmatch(path.name) for path in folder.iterdir())
        for name in sorted({match[1] for match in names if match}):
            for abandoned in iter_abandoned(folder / name):
                if not dry_run:
                    abandoned.unlink(missing_ok=True)
                yield f"{abandoned}: left by a killed process"

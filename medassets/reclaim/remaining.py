"""Counts source files: those that a run may delete, and those that are still there after it."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from medassets.datasets.workspace import Workspace
from medassets.reclaim.claims import Needs
from medassets.reclaim.files_to_shards import read_places
from medassets.reclaim.report import Kept, ReclaimReport
from medassets.reclaim.units import measure_unit, open_unit
from medassets.shards.files import read_whole_record


@dataclass(frozen=True)
class Deletable:
    """What a run may delete at most; each file must be proven to be in its shards first.

    Attributes:
        num_files: Source files.
        num_bytes: Their bytes.
    """

    num_files: int
    num_bytes: int


def measure_deletable(
    workspace: Workspace, needs: Needs, *, partitions: Collection[str] | None = None
) -> Deletable:
    """Count the files whose samples all have a shard, and that no other dataset needs now.

    Args:
        workspace: The dataset.
        needs: What other datasets keep.
        partitions: Only files that belong to these shards; None means all.

    Raises:
        CatalogError: If there is no catalog, or it cannot be read.
    """
    units = (
        open_unit(workspace, path)
        for path, partition, num_unplanned in _iter_files(workspace)
        if (partitions is None or partition in partitions) and not num_unplanned
    )
    found = [measure_unit(unit) for unit in units if not needs.find_claim(unit.list_places())]
    return Deletable(sum(number for number, _ in found), sum(size for _, size in found))


def find_remaining(
    workspace: Workspace,
    reports: Collection[ReclaimReport],
    *,
    failed: Collection[str],
    partitions: Collection[str] | None = None,
) -> list[Kept]:
    """Return files that are still there and that no report names, with the state of their shard.

    Args:
        workspace: The dataset.
        reports: Those of the shards that a run looked at.
        failed: Shards that the run could not make.
        partitions: Only files that belong to these shards; None means all.

    Raises:
        CatalogError: If there is no catalog, or it cannot be read.
    """
    looked_at = {report.partition_key: report for report in reports}
    named = {kept.path for report in reports for kept in report.kept}
    whys: dict[str, str] = {}
    found: list[Kept] = []
    for path, partition, _ in _iter_files(workspace):
        if path in named or (partitions is not None and partition not in partitions):
            continue
        if partition not in whys:
            whys[partition] = _find_state(workspace, partition, looked_at, failed)
        _, num_bytes = measure_unit(open_unit(workspace, path))
        found.append(Kept(path, num_bytes, whys[partition], is_trouble=False))
    return found


def _iter_files(workspace: Workspace) -> Iterator[tuple[str, str, int]]:
    """Yield files that exist and have samples in the plan: path, last shard, other rows."""
    for path, places in read_places(workspace.paths.catalog, workspace.source).items():
        if places.partitions and not open_unit(workspace, path).is_gone():
            yield path, places.partitions[-1], places.num_unplanned


def _find_state(
    workspace: Workspace,
    partition: str,
    looked_at: Mapping[str, ReclaimReport],
    failed: Collection[str],
) -> str:
    if partition in failed:
        return "its shard failed"
    if read_whole_record(workspace.paths, partition) is None:
        return "its shard is not made yet"
    report = looked_at.get(partition)
    if report is not None and report.problems:
        return "its shard was not proven"
    return "it was not compared with its shard"

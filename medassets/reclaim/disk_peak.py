"""How much disk a build needs at most, when the sources of each shard are deleted once it is whole."""

from dataclasses import dataclass

import pyarrow as pa

from medassets.datasets.build import today_fingerprint
from medassets.datasets.workspace import Workspace
from medassets.errors import DiskSpaceError
from medassets.reclaim.claims import Needs, Others
from medassets.reclaim.files_to_shards import index_places
from medassets.reclaim.source_files import size_of
from medassets.reclaim.units import measure_unit, open_unit
from medassets.shards.catalog.plan import STATE_PLANNED, plan_of
from medassets.shards.files import partial_paths, read_whole_record
from medassets.storage.disk import free_bytes, is_same_disk

# Of each shard: the end of the tar, filled to a record, and the JSON beside it, mostly per sample.
_SHARD_EXTRA_BYTES = 12 * 1024
_RECORD_BYTES_PER_SAMPLE = 900
_ROWS_AT_ONCE = 8192


@dataclass(frozen=True)
class PeakEstimate:
    """Disk that sources and shards take together, and at most.

    Attributes:
        source_bytes: Source files of the plan that are there now.
        shard_bytes: Shards that are there now, and what a stopped run has written of others.
        peak_bytes: Most that both together will take at any time.
        end_bytes: What they take in the end.
        needed_bytes: What has to be free on the disk of the shards.
        free_bytes: What is free there.
        same_disk: Whether a deleted source makes room for a shard.
    """

    source_bytes: int
    shard_bytes: int
    peak_bytes: int
    end_bytes: int
    needed_bytes: int
    free_bytes: int
    same_disk: bool

    @property
    def fits(self) -> bool:
        """Whether the build can be finished."""
        return self.needed_bytes <= self.free_bytes


def estimate_peak(
    workspace: Workspace, table: pa.Table, *, reclaim: bool, needs: Needs | None = None
) -> PeakEstimate:
    """Return what disk a build of the whole plan takes.

    Sources of shards that are whole are deleted first; the other shards are made one after the other, in the
    order of the plan.

    Args:
        workspace: The dataset.
        table: Its catalog; see `medassets.shards.catalog`.
        reclaim: Whether the sources of each shard are deleted before the next one is made.
        needs: What other datasets keep of them.
    """
    shards = _look_at_shards(workspace, table)
    shards = dict(sorted(shards.items(), key=lambda one: not one[1].is_done))
    freed, sources = _measure_sources(workspace, table, list(shards), needs)
    same_disk = _is_same_disk(workspace)
    there = sum(shard.there + shard.begun for shard in shards.values())
    size = peak = there + sources
    room = needed = 0
    for key, shard in shards.items():
        gone = freed.get(key, 0) if reclaim else 0
        size += shard.new
        room += shard.new
        peak, needed = max(peak, size), max(needed, room)
        size -= gone + shard.replaced
        room -= shard.replaced + (gone if same_disk else 0)
    return PeakEstimate(
        source_bytes=sources,
        shard_bytes=there,
        peak_bytes=peak,
        end_bytes=size,
        needed_bytes=needed,
        free_bytes=free_bytes(workspace.paths.folder),
        same_disk=same_disk,
    )


@dataclass(frozen=True)
class _Shard:
    """One shard of the plan.

    Attributes:
        expected: Bytes it is expected to take.
        there: Bytes of the one that is published.
        begun: Bytes that a stopped run has written of it.
        is_done: Whether the published one was made from the current plan.
    """

    expected: int
    there: int
    begun: int
    is_done: bool

    @property
    def new(self) -> int:
        """Bytes that are still to be written."""
        return 0 if self.is_done else max(self.expected - self.begun, 0)

    @property
    def replaced(self) -> int:
        """Bytes that are freed when the shard is made again."""
        return 0 if self.is_done else self.there


def check_peak(workspace: Workspace, others: Others) -> None:
    """Refuse a build that would not fit even though it deletes sources shard by shard.

    Raises:
        DiskSpaceError: If it does not; the message has both numbers.
        ReclaimError: If what another dataset needs is unknown.
        CatalogError: If there is no catalog yet.
    """
    table = workspace.read_catalog()
    if table is not None:
        needs = Needs(workspace, others)
        require_peak(workspace, estimate_peak(workspace, table, reclaim=True, needs=needs))


def require_peak(workspace: Workspace, peak: PeakEstimate) -> None:
    """Refuse a build that does not fit.

    Raises:
        DiskSpaceError: If it does not; the message has both numbers.
    """
    if not peak.fits:
        # Without deletions, the order of shards saves nothing.
        is_deleting = peak.end_bytes < peak.peak_bytes
        smaller = ", or make smaller shards: sources are deleted shard by shard" * is_deleting
        msg = (
            f"{workspace.paths.folder}: {peak.needed_bytes:,} more bytes are needed at the peak, "
            f"{peak.free_bytes:,} are free. Free {peak.needed_bytes - peak.free_bytes:,} bytes, or build "
            f"where there is more room (MEDASSETS_HOME){smaller}"
        )
        raise DiskSpaceError(msg)


def _look_at_shards(workspace: Workspace, table: pa.Table) -> dict[str, _Shard]:
    """Return every planned shard, in the order of the plan."""
    plan, found = plan_of(table), dict[str, _Shard]()
    for key, expected in _estimate_shards(workspace, table).items():
        record = read_whole_record(workspace.paths, key, today_fingerprint(workspace, plan, key))
        shard = workspace.paths.shard(key)
        partial, _ = partial_paths(shard)
        found[key] = _Shard(expected, size_of(shard), size_of(partial), record is not None)
    return found


def _estimate_shards(workspace: Workspace, table: pa.Table) -> dict[str, int]:
    """Return the expected bytes of every planned shard, in the order of the plan."""
    sizes = dict.fromkeys(plan_of(table).partitions, _SHARD_EXTRA_BYTES)
    for start in range(0, table.num_rows, _ROWS_AT_ONCE):
        for row in table.slice(start, _ROWS_AT_ONCE).to_pylist():
            if row["state"] == STATE_PLANNED:
                sample_bytes = workspace.kind.estimate(row).sample_bytes
                sizes[row["partition"]] += sample_bytes + _RECORD_BYTES_PER_SAMPLE
    return sizes


def _measure_sources(
    workspace: Workspace, table: pa.Table, order: list[str], needs: Needs | None
) -> tuple[dict[str, int], int]:
    """Return the bytes of files deleted after each shard, and of all files of the plan.

    Args:
        workspace: The dataset.
        table: Its catalog.
        order: The shards as they are made; a file is deleted after the last that has a sample of it.
        needs: What other datasets keep.
    """
    numbers = {key: n for n, key in enumerate(order)}
    freed: dict[str, int] = {}
    total = 0
    for path, places in index_places(table, workspace.source.physical_path).items():
        if not places.partitions:
            continue
        unit = open_unit(workspace, path)
        _, num_bytes = measure_unit(unit)
        total += num_bytes
        if not places.num_unplanned and not (needs and needs.find_claim(unit.list_places())):
            last = max(places.partitions, key=lambda key: numbers[key])
            freed[last] = freed.get(last, 0) + num_bytes
    return freed, total


def _is_same_disk(workspace: Workspace) -> bool:
    try:
        workspace.source_folder.stat()
        return is_same_disk(workspace.paths.folder, workspace.source_folder)
    except OSError:
        return False

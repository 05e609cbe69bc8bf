"""One partition from catalog rows to a published shard."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from medassets.datasets.workspace import Workspace
from medassets.errors import SampleRejectedError
from medassets.samples import SourceItem
from medassets.shards.fingerprint import plan_fingerprint
from medassets.shards.record import ShardRecord
from medassets.shards.writer import Progress, ShardResult, ShardWork, ensure_shard
from medassets.storage.disk import require_free_bytes
from medassets.storage.paths import DatasetPaths

Observer = Callable[[Progress], None]


@dataclass(frozen=True)
class StageReport:
    """What `stage_partition` did.

    Attributes:
        num_files: Files of the partition that lie in staging, checked.
        num_bytes: Their bytes.
        rejected: Sample key to the reason why its file could not be had.
        needed: False if the shard is already whole, so that nothing was fetched.
    """

    num_files: int
    num_bytes: int
    rejected: dict[str, str]
    needed: bool


def plan_shard(
    workspace: Workspace,
    partition_key: str,
    *,
    num_workers: int = 0,
    force: bool = False,
) -> ShardWork:
    """Describe the making of one shard; reads the partition's own catalog rows, fetches nothing.

    Args:
        workspace: The dataset.
        partition_key: Shard to make.
        num_workers: Threads; 0 takes the declaration's number, and one per core if that is 0.
        force: Make the shard again even when it is whole.

    Raises:
        CatalogError: If the catalog does not know the partition.
    """
    spec = workspace.kind.spec
    items = tuple(workspace.read_partition(partition_key))
    return ShardWork(
        dataset=spec.name,
        partition_key=partition_key,
        items=items,
        plan_fingerprint=plan_fingerprint(workspace.kind.fingerprint(), items),
        stage=workspace.stage,
        encode=workspace.kind.encoder(),
        source={"uri": workspace.source.uri, "revision": items[0].revision},
        max_rejected_share=spec.max_rejected_share,
        num_workers=num_workers or spec.num_workers,
        force=force,
    )


def stage_partition(
    workspace: Workspace,
    partition_key: str,
    *,
    on_bytes: Callable[[int], None] | None = None,
) -> StageReport:
    """Fetch and check the source files of one shard that is still to be made.

    Raises:
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source stays silent.
        DiskSpaceError: If the staging budget cannot hold the files.
    """
    items = workspace.read_partition(partition_key)
    if not workspace.kind.spec.keep_raw and is_whole(workspace, partition_key, items):
        return StageReport(num_files=0, num_bytes=0, rejected={}, needed=False)
    staged = workspace.stage(items, on_bytes=on_bytes)
    rejected = {k: str(s) for k, s in staged.items() if isinstance(s, SampleRejectedError)}
    files = [s for s in staged.values() if not isinstance(s, SampleRejectedError)]
    return StageReport(
        num_files=len(files),
        num_bytes=sum(file.num_bytes for file in files),
        rejected=rejected,
        needed=True,
    )


def is_whole(workspace: Workspace, partition_key: str, items: Sequence[SourceItem]) -> bool:
    """Say whether the shard is on disk with its recorded size and today's fingerprint."""
    record = read_matching_record(workspace.paths, partition_key)
    today = plan_fingerprint(workspace.kind.fingerprint(), items)
    return record is not None and record.plan_fingerprint == today


def read_matching_record(paths: DatasetPaths, partition_key: str) -> ShardRecord | None:
    """Return a shard's record if the shard is there with the recorded size, else None."""
    try:
        record = ShardRecord.read(paths.record(partition_key))
        size = paths.shard(partition_key).stat().st_size
    except FileNotFoundError:
        return None
    return record if record.size_bytes == size else None


def build_shard(
    workspace: Workspace,
    paths: DatasetPaths,
    work: ShardWork,
    *,
    observe: Observer | None = None,
) -> ShardResult:
    """Make sure that one shard is published and verified, then free its staged files.

    Raises:
        DiskSpaceError: If the disk cannot hold the shard.
        TooManyRejectedError: If more samples were rejected than the declaration allows.
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source stays silent.
    """
    if work.force or not is_whole(workspace, work.partition_key, work.items):
        estimate = workspace.kind.estimate
        needed = sum(estimate(item.row).sample_bytes for item in work.items)
        needed -= partial_bytes(paths, work.partition_key)
        require_free_bytes(paths.folder, needed, purpose=f"shard {work.partition_key}")
    result = ensure_shard(paths, work, observe=observe)
    workspace.release(work.items)
    return result


def partial_bytes(paths: DatasetPaths, partition_key: str) -> int:
    """Return the bytes an interrupted run has already written of a shard."""
    shard = paths.shard(partition_key)
    try:
        return shard.with_name(f".{shard.name}.partial").stat().st_size
    except FileNotFoundError:
        return 0



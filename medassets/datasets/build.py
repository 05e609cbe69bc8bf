"""One partition from catalog rows to a published shard."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from medassets.datasets.judging import judging_headers
from medassets.datasets.kind import DatasetKind
from medassets.datasets.overlap.fetch_ahead import Ahead, FetchAhead, current_ahead, stage_first
from medassets.datasets.upstream.built_samples import Stage, open_built
from medassets.datasets.upstream.outages import Watch, find_completing
from medassets.datasets.workspace import Workspace
from medassets.errors import DiskSpaceError, LaterVersionError, ReclaimError, SampleRejectedError
from medassets.progress import BytesFetched, SampleDone, report
from medassets.samples import SourceItem, Staged
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.files import read_whole_record, written_bytes
from medassets.shards.fingerprint import plan_fingerprint, rows_fingerprint
from medassets.shards.made_from import MadeFrom, find_later_version, meaning_of
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.writer import ShardResult, ShardWork, ensure_shard, missing_bytes
from medassets.storage.disk import require_free_bytes
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import is_gone

Observer = Callable[[SampleDone], None]


@dataclass(frozen=True)
class StageReport:
    """What `stage_partition` did.

    Attributes:
        num_files: Checked files of the partition in staging.
        num_bytes: Their bytes.
        rejected: Sample key to the reason why its file is not available.
        needed: False if the shard is already whole, so that nothing was fetched.
        left: Why the files are fetched while the shard is built; empty if they were staged.
    """

    num_files: int
    num_bytes: int
    rejected: dict[str, str]
    needed: bool
    left: str = ""


def plan_shard(
    workspace: Workspace,
    partition_key: str,
    *,
    num_workers: int = 0,
    force: bool = False,
) -> ShardWork:
    """Plan the build of one shard; reads the partition's own catalog rows, fetches nothing.

    A whole shard that lacks samples whose files are back is made again.

    Args:
        workspace: The dataset.
        partition_key: Shard to make.
        num_workers: Threads; 0 takes the declaration's number, and one per core if that is 0.
        force: Make the shard again even when it is whole.

    Raises:
        CatalogError: If the catalog does not know the partition, or the stage it is made of is
            not there yet.
        ReclaimError: If it would have to be made again, but sources of it were deleted.
        LaterVersionError: If a later version made it, and `force` is not given.
    """
    kind, spec = workspace.kind, workspace.kind.spec
    items = tuple(workspace.read_partition(partition_key))
    made_from = describe_inputs(kind, items)
    today = made_from.plan_fingerprint
    fetch = workspace.stage if workspace.source.is_local else _fetching(workspace, partition_key)
    fetch = judging_headers(workspace, _naming_rows(fetch))
    watch = Watch(workspace, partition_key)
    stage = _checking_sources(workspace, partition_key, watch.staging(fetch))
    # The sources of a complete shard may have been deleted.
    whole = read_whole_record(workspace.paths, partition_key, today)
    lacks = whole is not None and bool(find_completing(workspace, whole))
    needed = force or lacks or whole is None
    if needed:
        check_sources_kept(workspace, partition_key)
    if needed and not force:
        refuse_later_shard(workspace, partition_key)
    files = kind.open_files(workspace.paths, partition_key) if needed else None
    built = open_built(workspace, partition_key, items if needed and not force else ())
    return ShardWork(
        dataset=spec.name,
        partition_key=partition_key,
        items=tuple(files.place(items)) if files else items,
        plan_fingerprint=today,
        stage=files.stage if files else _going_on(partition_key, built.staging(stage)),
        release=files.release if files else workspace.release,
        stage_each=files is not None or workspace.source.is_local,
        encode=built.encoding(kind.encoder() if files else watch.encoding(kind.encoder())),
        source={"uri": workspace.source.uri, "revision": items[0].revision},
        kind=kind.SAMPLES,
        made_from=made_from,
        plan=workspace.copy_plan(items),
        expected_bytes=sum(kind.estimate(item.row).sample_bytes for item in items),
        max_rejected_share=spec.max_rejected_share,
        num_workers=num_workers or spec.num_workers,
        # For the sake of samples whose files are back, none that it holds may be lost.
        keep_held=workspace.is_only_copy or lacks,
        force=force or lacks,
    )


def check_sources_kept(workspace: Workspace, partition_key: str) -> None:
    """Refuse to rebuild a shard that holds the only copy of its data.

    Raises:
        ReclaimError: If some of its sources were deleted.
    """
    journal = ReclaimJournal.read(workspace.paths.reclaim_journal(partition_key))
    # A run that was killed between note and deletion left the file where it was; others came back.
    noted = [*journal.deleted, *journal.intended]
    gone = [path for path in noted if _is_gone(workspace, path)]
    if gone:
        some = gone[0] + (" and others" if len(gone) > 1 else "")
        msg = (
            f"{partition_key}: {len(gone)} of its sources were deleted after they were proven to be "
            f"in the shard ({some}), so it cannot be made again. If the shard is whole, revert "
            f"the change of the declaration or tables that outdated it; if it is lost or damaged, "
            f"restore {workspace.paths.shard(partition_key)} and its record from a copy"
        )
        raise ReclaimError(msg)
    if workspace.is_only_copy:
        _check_held(workspace, partition_key)


def refuse_later_shard(workspace: Workspace, partition_key: str) -> None:
    """Refuse to replace a shard whose bytes are of a format that this version does not make yet.

    Raises:
        LaterVersionError: The message names the version.
    """
    record = read_whole_record(workspace.paths, partition_key)
    facts, kind = record.facts if record is not None else None, workspace.kind
    versions = [name for name, oldest in kind.OLDEST_ALIKE.items() if oldest is not None]
    later = find_later_version(facts.spec, kind.facts(), versions) if facts else ""
    if later:
        raise LaterVersionError(workspace.paths.shard(partition_key), later)


def _check_held(workspace: Workspace, partition_key: str) -> None:
    """Refuse to replace a shard on disk that holds what vanished from the source."""
    record = read_whole_record(workspace.paths, partition_key)
    held = {sample.key for sample in record.samples} if record is not None else set[str]()
    for item in workspace.read_partition(partition_key):
        if item.key in held and _is_gone(workspace, item.path):
            path = workspace.source.physical_path(item.path)
            msg = (
                f"{partition_key}: the source of {item.key}, {path}, is gone, so the shard that "
                f"holds it is not made again. Restore the file, or revert the change of the "
                f"declaration or tables that outdated the shard"
            )
            raise ReclaimError(msg)


def _is_gone(workspace: Workspace, path: str) -> bool:
    source = workspace.kind.ct_source
    if source is None:
        return is_gone(workspace.source_folder / workspace.source.physical_path(path))
    return source.is_gone(path)


def stage_partition(
    workspace: Workspace,
    partition_key: str,
    *,
    may_wait: bool = True,
    leave: str = "",
    on_bytes: Callable[[int], None] | None = None,
) -> StageReport:
    """Fetch and check the source files of one shard that is still to be made.

    Args:
        workspace: The dataset.
        partition_key: The shard.
        may_wait: Wait until other runs free room in the staging area. If not, files that find no
            room are left to the making of the shard.
        leave: Why files are left to the making of the shard in any case; empty fetches them.
        on_bytes: Called with the number of bytes received.

    Raises:
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source does not respond.
        DiskSpaceError: If the staging budget cannot hold the files.
    """
    if (ahead := current_ahead()) is not None:
        ahead.take(partition_key)
    items = list_to_fetch(workspace, partition_key, even_whole=workspace.kind.spec.keep_raw)
    if items is None:
        return StageReport(num_files=0, num_bytes=0, rejected={}, needed=False)
    if leave:
        return StageReport(num_files=0, num_bytes=0, rejected={}, needed=True, left=leave)
    if not may_wait:
        workspace = replace(workspace, staging=replace(workspace.staging, wait_timeout_s=0.0))
    try:
        staged = stage_first(workspace, partition_key, items, on_bytes=on_bytes)
    except DiskSpaceError as error:
        if may_wait:
            raise
        return StageReport(num_files=0, num_bytes=0, rejected={}, needed=True, left=str(error))
    rejected = {k: str(s) for k, s in staged.items() if isinstance(s, SampleRejectedError)}
    files = [s for s in staged.values() if not isinstance(s, SampleRejectedError)]
    return StageReport(
        num_files=len(files),
        num_bytes=sum(file.num_bytes for file in files),
        rejected=rejected,
        needed=True,
    )


def list_to_fetch(
    workspace: Workspace, partition_key: str, *, even_whole: bool = False, force: bool = False
) -> list[SourceItem] | None:
    """Return the rows of a shard whose files a build of it fetches; None if it is whole.

    Args:
        workspace: The dataset.
        partition_key: The shard.
        even_whole: Return them for a whole shard as well.
        force: The build makes all samples again.

    Raises:
        CatalogError: If the catalog does not know the shard.
        LaterVersionError: If a later version made it.
    """
    items = workspace.read_partition(partition_key)
    if force:
        return items
    today = plan_fingerprint(workspace.kind.fingerprint(), rows_fingerprint(items))
    if not even_whole and read_whole_record(workspace.paths, partition_key, today) is not None:
        return None
    refuse_later_shard(workspace, partition_key)
    built = open_built(workspace, partition_key, items)
    return [item for item in items if item.key not in built.entries]


def open_ahead(
    workspace: Workspace, keys: Sequence[str], *, forced: Collection[str] = ()
) -> FetchAhead:
    """Return what fetches the files of shards while the ones before are computed.

    Args:
        workspace: The dataset.
        keys: Shards that are made one after the other, in this order.
        forced: Those that are made again although they are whole.
    """

    def list_items(key: str) -> Sequence[SourceItem]:
        return list_to_fetch(workspace, key, force=key in forced) or ()

    def missing(key: str) -> int:
        items = workspace.read_partition(key)
        expected = sum(workspace.kind.estimate(item.row).sample_bytes for item in items)
        return max(expected - written_bytes(workspace.paths, key), 0)

    remote = () if workspace.source.is_local else keys
    return FetchAhead(workspace, remote, Ahead(list_items, missing))


def _fetching(workspace: Workspace, partition_key: str) -> Stage:
    """Return the staging of a remote source; it reports the bytes that it fetches."""

    def fetch(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        def note(num_bytes: int) -> None:
            report(BytesFetched(num_bytes))

        return stage_first(workspace, partition_key, items, on_bytes=note)

    return fetch


def _going_on(partition_key: str, stage: Stage) -> Stage:
    """Return a staging after which the files of the following shards are fetched."""

    def stage_and_go_on(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        staged = stage(items)
        if (ahead := current_ahead()) is not None:
            ahead.begin(partition_key)
        return staged

    return stage_and_go_on


def _checking_sources(workspace: Workspace, partition_key: str, stage: Stage) -> Stage:
    """Look once more at the first call, under the shard's lock, whether sources are there.

    Another run may have deleted them since the work was planned.
    """
    checked: list[bool] = []

    def check_and_stage(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        if not checked:
            check_sources_kept(workspace, partition_key)
            checked.append(True)
        return stage(items)

    return check_and_stage


def _naming_rows(stage: Stage) -> Stage:
    """Add the row of the source's table to the rejection of a file that cannot be fetched."""

    def name(item: SourceItem, staged: Staged) -> Staged:
        row = item.row.get("row")
        if row is None or not isinstance(staged, SampleRejectedError):
            return staged
        return SampleRejectedError(staged.reason, f"metadata row {row}: {staged.detail}")

    def stage_and_name(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        staged = stage(items)
        return {item.key: name(item, staged[item.key]) for item in items}

    return stage_and_name


def describe_inputs(kind: DatasetKind, items: Sequence[SourceItem]) -> MadeFrom:
    """Return what a shard of some rows would be made from today."""
    facts = kind.facts()
    return MadeFrom.of(facts, items, meaning=meaning_of(facts, kind.OLDEST_ALIKE))


def today_fingerprint(workspace: Workspace, plan: CatalogPlan, partition_key: str) -> str:
    """Return the fingerprint that a shard made today would have."""
    return plan_fingerprint(workspace.kind.fingerprint(), plan.digests[partition_key])


def today_fingerprints(workspace: Workspace, plan: CatalogPlan) -> dict[str, str]:
    """Return `today_fingerprint` of every planned shard, by partition key."""
    kind = workspace.kind.fingerprint()
    return {key: plan_fingerprint(kind, digest) for key, digest in plan.digests.items()}


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
        SourceUnavailableError: If the source does not respond.
    """
    ahead = current_ahead()
    if ahead is None:
        return _build_shard(paths, work, observe)

    def observe_both(done: SampleDone) -> None:
        ahead.tell()
        if observe is not None:
            observe(done)

    ahead.take(work.partition_key)
    try:
        return _build_shard(paths, work, observe_both)
    except DiskSpaceError:
        # Without what was fetched ahead, there may be room.
        if not ahead.drop(work.partition_key):
            raise
    return _build_shard(paths, work, observe_both)


def _build_shard(paths: DatasetPaths, work: ShardWork, observe: Observer | None) -> ShardResult:
    whole = read_whole_record(paths, work.partition_key, work.plan_fingerprint)
    if work.force or whole is None:
        needed = missing_bytes(paths, work)
        require_free_bytes(paths.folder, needed, purpose=f"shard {work.partition_key}")
    return ensure_shard(paths, work, observe=observe)

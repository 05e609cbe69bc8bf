"""Delete source files, and only those whose every sample is proven to be in a whole shard.

The one place of the package that deletes files it did not make. The order is always: lock the
shards, read them from the disk, make every sample of the source again and compare it byte by byte,
note what is about to be deleted, check the file once more, delete it, note the deletion.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.survey import survey_records
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.progress import ShardReclaimed
from medassets.reclaim.claims import Needs, Others
from medassets.reclaim.report import Observe, ReclaimReport
from medassets.reclaim.run import ReclaimRun
from medassets.reclaim.series_files import finish_interrupted
from medassets.reclaim.source_files import find_source_files, find_unused
from medassets.reclaim.units import open_unit
from medassets.shards.catalog.plan import CatalogPlan
from medassets.shards.files import lock_path, read_whole_record
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.record import ShardRecord
from medassets.storage.locks import lock_file

CONFIRMATION = "DELETE"
"""The word that a user types to confirm a run that deletes."""


def reclaim_partition(
    workspace: Workspace,
    partition_key: str,
    *,
    confirmed: bool,
    others: Others,
    num_workers: int = 0,
    observe: Observe | None = None,
) -> ReclaimReport:
    """Delete the source files of one shard that are proven to be in it.

    A file with samples in several shards is handled with the last of them.

    Args:
        workspace: The dataset; its declaration must say `delete_sources: true`.
        partition_key: The shard; whole, and made from today's plan.
        confirmed: Whether a user typed `CONFIRMATION`; without it nothing is written or deleted.
        others: The other declared datasets, whose files are kept as long as they need them.
        num_workers: Threads; 0 takes the declaration's number, and one per core if that is 0.
        observe: Called in the calling thread after every file, and at the end with the report, also
            if an error or Ctrl-C ends a run that has deleted something.

    Raises:
        ReclaimError: If the declaration does not allow it, a shard is missing or outdated, or what
            another dataset needs is unknown.
        CatalogError: If the catalog does not know the partition.
        DiskSpaceError: If there is no room to note what is deleted; nothing is deleted then.
    """
    _check_allowed(workspace)
    # Files on a disk that is not mounted must not count as deleted.
    workspace.source.resolve_revision()
    if confirmed:
        # First, because others that need a series do not see it while it is set aside.
        with _locked(workspace, [partition_key]):
            finish_interrupted(
                workspace, ReclaimJournal.read(workspace.paths.reclaim_journal(partition_key))
            )
    needs = Needs(workspace, others)
    files = find_source_files(workspace, partition_key)
    report = ReclaimReport(partition_key, confirmed)
    partitions = sorted({partition_key, *(key for file in files for key in file.partitions)})
    try:
        with _locked(workspace, partitions):
            records = _read_records(workspace, partitions, partition_key)
            run = ReclaimRun(workspace, report, records, needs)
            left = run.find_remaining(files)
            ready = [file for file in left if run.may_delete(file)]
            if confirmed:
                run.delete(ready, num_workers or workspace.kind.spec.num_workers, observe)
            else:
                report.deletable = ready
    except BaseException:
        if report.deleted and observe is not None:
            observe(ShardReclaimed(report))
        raise
    if observe is not None:
        observe(ShardReclaimed(report))
    return report


def is_reclaimed(workspace: Workspace, partition_key: str) -> bool:
    """Tell whether a run would have nothing to delete.

    Raises:
        ReclaimError: If the journal is damaged.
        CatalogError: If the catalog does not know the partition.
    """
    journal = ReclaimJournal.read(workspace.paths.reclaim_journal(partition_key))
    record = read_whole_record(workspace.paths, partition_key)
    rejected = {one.key for one in record.rejected} if record is not None else set()
    return all(
        # The next run notes deletions that a killed run did not.
        (open_unit(workspace, file.path).is_gone() and file.path not in journal.intended)
        or not file.is_planned
        or any(item.key in rejected for item in file.items)
        or bool(find_unused(workspace, file))
        for file in find_source_files(workspace, partition_key)
    )


def finish_all_interrupted(workspace: Workspace) -> None:
    """Put series back, or delete the rest of them, where an earlier run was ended between two files.

    A scan leaves such series out, so this comes before the catalog is refreshed. A shard whose journal is
    damaged is passed over: its own run says so.

    Raises:
        ReclaimError: If files can neither be deleted nor put back.
    """
    source = workspace.kind.ct_source
    if source is None or source.series is None or not workspace.paths.reclaim_journals.exists():
        return
    for key in workspace.read_plan().partitions:
        path = workspace.paths.reclaim_journal(key)
        if not path.exists():
            continue
        with _locked(workspace, [key]):
            try:
                journal = ReclaimJournal.read(path)
            except ReclaimError:
                continue
            finish_interrupted(workspace, journal)


def count_deleted(workspace: Workspace, partitions: Sequence[str]) -> tuple[int, int]:
    """Return how many source files of shards were deleted, and their bytes.

    Raises:
        ReclaimError: If a journal is damaged.
    """
    if not workspace.paths.reclaim_journals.exists():
        return 0, 0
    found: dict[str, int] = {}
    for key in partitions:
        journal = ReclaimJournal.read(workspace.paths.reclaim_journal(key))
        # A tar with samples in several shards is in the journal of each.
        found |= {path: deletion.num_bytes for path, deletion in journal.deleted.items()}
    return len(found), sum(found.values())


def _check_allowed(workspace: Workspace) -> None:
    spec = workspace.kind.spec
    if not getattr(spec, "delete_sources", False) or not workspace.source.is_local:
        msg = (
            f"delete_sources: {spec.name} keeps its sources; to let them be deleted when they are "
            f"proven to be in a shard, declare `delete_sources: true`"
        )
        raise ReclaimError(msg)


@contextmanager
def _locked(workspace: Workspace, partitions: Sequence[str]) -> Iterator[None]:
    """Lock the shards, always in the same order, so that none is replaced while it is compared."""
    with ExitStack() as stack:
        for key in partitions:
            shard = workspace.paths.shard(key)
            stack.enter_context(lock_file(lock_path(shard)))
        yield


def _read_records(
    workspace: Workspace, partitions: Sequence[str], partition_key: str
) -> dict[str, ShardRecord]:
    """Return the records of the shards that are whole and made from today's plan."""
    plan = workspace.read_plan()
    _check_declaration(workspace, plan)
    _check_survey(workspace, plan)
    found: dict[str, ShardRecord] = {}
    for key in partitions:
        today = today_fingerprint(workspace, plan, key)
        record = read_whole_record(workspace.paths, key, today)
        if record is not None:
            found[key] = record
    if partition_key not in found:
        msg = (
            f"{partition_key}: the shard is missing, damaged or outdated, so none of its sources "
            f"can be deleted; `{workspace.paths.build_command}` makes it whole"
        )
        raise ReclaimError(msg)
    return found


def _check_declaration(workspace: Workspace, plan: CatalogPlan) -> None:
    """Refuse a declaration under which shards whose sources were deleted are outdated.

    Raises:
        ReclaimError: If such a shard is whole, and made from another declaration.
    """
    paths = workspace.paths
    key = next((key for key in plan.partitions if _has_deleted(paths.reclaim_journal(key))), None)
    record = read_whole_record(paths, key) if key is not None else None
    if key is None or record is None:
        return
    if record.plan_fingerprint != today_fingerprint(workspace, plan, key):
        msg = (
            f"{key}: sources of this shard were deleted, and today's declaration or tables would make "
            f"it differently. Nothing is deleted until that is reverted: no manifest would list all "
            f"shards"
        )
        raise ReclaimError(msg)


def _check_survey(workspace: Workspace, plan: CatalogPlan) -> None:
    """Refuse a dataset whose samples do not fit together: its shards would have to be made again.

    Raises:
        ReclaimError: With what `survey_records` found.
    """
    records = [read_whole_record(workspace.paths, key) for key in plan.partitions]
    survey = survey_records(workspace.kind, [record for record in records if record is not None])
    if survey.problems:
        msg = f"{'; '.join(survey.problems)}. Nothing is deleted until then"
        raise ReclaimError(msg)


def _has_deleted(journal: Path) -> bool:
    try:
        return journal.exists() and bool(ReclaimJournal.read(journal).deleted)
    except ReclaimError:
        # A damaged journal affects its own shard only.
        return False

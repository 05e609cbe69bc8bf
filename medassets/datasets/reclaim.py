"""Delete source files, and only those whose every sample is proven to be in a whole shard.

The one place of the package that deletes what it did not make. The order is always: lock the
shards, read them from the disk, make every sample of the source again and compare it byte by byte,
note what is about to be deleted, look at the file once more, delete it, note that it is gone.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

from medassets.datasets.build import today_fingerprint
from medassets.datasets.proof import Proof, prove_file
from medassets.datasets.source_files import (
    FileStat,
    SourceFile,
    find_source_files,
    find_unused,
    open_source_folder,
    size_of,
)
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.samples import SourceItem
from medassets.shards.pipeline import iter_in_order
from medassets.shards.reclaim_journal import Deletion, ReclaimJournal
from medassets.shards.record import ShardRecord
from medassets.shards.verify import verify_shard
from medassets.shards.writer import Staged, read_whole_record
from medassets.storage.atomic import fsync_folder
from medassets.storage.disk import drop_cached
from medassets.storage.locks import lock_file

CONFIRMATION = "DELETE"
"""The word that a person types into a run that may delete."""


@dataclass(frozen=True)
class Kept:
    """A source file that stays.

    Attributes:
        path: Path inside the source.
        num_bytes: Its size.
        why: One sentence.
        is_trouble: It should have been deleted, and could not be; otherwise a sample of it is in no
            shard, so it has to stay.
    """

    path: str
    num_bytes: int
    why: str
    is_trouble: bool


@dataclass(frozen=True)
class ReclaimProgress:
    """One more file was looked at, or deleted.

    Attributes:
        partition_key: The shard.
        done: Files proven so far, or deleted so far once `freed_bytes` is above 0.
        total: Files of the shard.
        freed_bytes: Bytes of the files deleted so far.
    """

    partition_key: str
    done: int
    total: int
    freed_bytes: int


@dataclass
class ReclaimReport:
    """What became of the sources of one shard.

    Attributes:
        partition_key: The shard.
        confirmed: Whether files might be deleted; otherwise `deletable` is all that was found out.
        deletable: Files that would be deleted, by a run that is allowed to.
        deleted: Files that this run deleted.
        already: Files that were deleted before.
        kept: Files that stay, and why.
        vanished: Files that are gone and that medassets did not delete; the shards hold their samples.
        problems: What is wrong with the shard; nothing is deleted then.
        is_waiting: A file stays only until another shard that holds samples of it is whole, too.
    """

    partition_key: str
    confirmed: bool
    deletable: list[SourceFile] = field(default_factory=list)
    deleted: list[Deletion] = field(default_factory=list)
    already: list[Deletion] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    is_waiting: bool = False

    @property
    def freed_bytes(self) -> int:
        """Bytes of the files that this run deleted."""
        return sum(deletion.num_bytes for deletion in self.deleted)

    @property
    def troubles(self) -> list[str]:
        """What a person has to look at: first what is wrong with the shard, then files."""
        return [*self.problems, *(f"{k.path}: {k.why}" for k in self.kept if k.is_trouble)]


Observe: TypeAlias = Callable[[ReclaimProgress | ReclaimReport], None]


def reclaim_partition(
    workspace: Workspace,
    partition_key: str,
    *,
    confirmed: bool,
    num_workers: int = 0,
    observe: Observe | None = None,
) -> ReclaimReport:
    """Delete the source files of one shard that are proven to be in it.

    A file with samples in several shards is looked after with the last of them.

    Args:
        workspace: The dataset; its declaration must say `delete_sources: true`.
        partition_key: The shard; whole, and made from today's plan.
        confirmed: Whether a person typed `CONFIRMATION`; without it nothing is written or deleted.
        num_workers: Threads; 0 takes the declaration's number, and one per core if that is 0.
        observe: Told of every file, in the calling thread, and at last of the report; of that also
            where an error or Ctrl-C ends a run that has deleted something.

    Raises:
        ReclaimError: If the declaration does not allow it, or a shard is missing or outdated.
        CatalogError: If the catalog does not know the partition.
        DiskSpaceError: If there is no room to note what is deleted; nothing is deleted then.
    """
    _check_allowed(workspace)
    # A disk that is not mounted must not look like files that are gone.
    workspace.source.resolve_revision()
    files = find_source_files(workspace, partition_key)
    report = ReclaimReport(partition_key, confirmed)
    partitions = sorted({partition_key, *(key for file in files for key in file.partitions)})
    try:
        with _locked(workspace, partitions):
            run = _Run(workspace, report, _read_records(workspace, partitions, partition_key))
            left = run.settle(files)
            ready = [file for file in left if run.may_go(file)]
            if confirmed:
                run.delete(ready, num_workers or workspace.kind.spec.num_workers, observe)
            else:
                report.deletable = ready
    except BaseException:
        if report.deleted and observe is not None:
            observe(report)
        raise
    if observe is not None:
        observe(report)
    return report


def is_reclaimed(workspace: Workspace, partition_key: str) -> bool:
    """Tell whether a run would have nothing to delete: all is gone that may go.

    Raises:
        ReclaimError: If the journal is damaged.
        CatalogError: If the catalog does not know the partition.
    """
    journal = ReclaimJournal.read(workspace.paths.reclaim_journal(partition_key))
    record = read_whole_record(workspace.paths, partition_key)
    rejected = {one.key for one in record.rejected} if record is not None else set()
    folder = open_source_folder(workspace)
    return all(
        # What went unnoted is noted by the next run.
        (not os.path.lexists(folder / file.path) and file.path not in journal.intended)
        or not file.is_planned
        or any(item.key in rejected for item in file.items)
        or bool(find_unused(workspace, file))
        for file in find_source_files(workspace, partition_key)
    )


def count_deleted(workspace: Workspace, partitions: Sequence[str]) -> tuple[int, int]:
    """Return how many source files of shards were deleted, and their bytes.

    Raises:
        ReclaimError: If a journal is damaged.
    """
    found: dict[str, int] = {}
    for key in partitions:
        journal = ReclaimJournal.read(workspace.paths.reclaim_journal(key))
        # A tar with samples in several shards stands in the journal of each.
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
    """Hold the shards, in one order for all, so that nobody replaces what is being compared."""
    with ExitStack() as stack:
        for key in partitions:
            shard = workspace.paths.shard(key)
            stack.enter_context(lock_file(shard.with_name(f".{shard.stem}.lock")))
        yield


def _read_records(
    workspace: Workspace, partitions: Sequence[str], partition_key: str
) -> dict[str, ShardRecord]:
    """Return the records of the shards that are whole and made from today's plan."""
    plan = workspace.read_plan()
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


class _Run:
    """One run over the files of one shard, under the locks of all shards that hold their samples."""

    def __init__(
        self, workspace: Workspace, report: ReclaimReport, records: dict[str, ShardRecord]
    ) -> None:
        self.workspace, self.report, self.records = workspace, report, records
        self.folder = open_source_folder(workspace)
        self.journals = {
            key: ReclaimJournal.read(workspace.paths.reclaim_journal(key)) for key in records
        }
        self.rejected = {
            rejected.key: f"{rejected.reason}: {rejected.detail}"
            for record in records.values()
            for rejected in record.rejected
        }

    def settle(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """Return the files that were not deleted before; note what a killed run left unsaid."""
        own = self.journals[self.report.partition_key]
        left: list[SourceFile] = []
        for file in files:
            if os.path.lexists(self.folder / file.path):
                # Also one that was deleted, and somebody brought back.
                left.append(file)
            elif file.path in own.intended:
                self.report.already.append(own.intended[file.path])
                if self.report.confirmed:
                    self._confirm([file])
            elif file.path in own.deleted:
                self.report.already.append(own.deleted[file.path])
            else:
                self.report.vanished.append(file.path)
        return left

    def may_go(self, file: SourceFile) -> bool:
        """Tell whether a file may be deleted if it proves to be in the shards; else say why not."""
        why, is_trouble = self._find_reason(file)
        if why:
            num_bytes = size_of(self.folder / file.path)
            self.report.kept.append(Kept(file.path, num_bytes, why, is_trouble))
        return not why

    def delete(
        self,
        files: list[SourceFile],
        num_workers: int,
        observe: Observe | None,
    ) -> None:
        """Prove all files, then delete those that are proven; nothing if a shard is wrong."""
        if not files:
            return
        self._read_shards({key for file in files for key in file.partitions})
        if self.report.problems:
            return
        proofs = self._prove(files, num_workers, observe)
        for proof in proofs:
            self.report.problems += proof.problems
        if self.report.problems:
            return
        sure = [proof for proof in proofs if not proof.why]
        self.report.kept += [
            Kept(p.file.path, p.stat.num_bytes if p.stat else 0, p.why, is_trouble=True)
            for p in proofs
            if p.why
        ]
        self._intend(sure)
        self._unlink(sure, observe)

    def _find_reason(self, file: SourceFile) -> tuple[str, bool]:
        """Return why a file must stay, empty if it need not, and whether that is trouble."""
        rejected = [item.key for item in file.items if item.key in self.rejected]
        if rejected:
            why = f"{rejected[0]}: {self.rejected[rejected[0]]}"
            return f"a sample of it was rejected: {why}", False
        if not file.is_planned:
            return f"{file.num_unplanned} of its samples are in no shard", False
        missing = sorted(set(file.partitions) - set(self.records))
        if missing:
            self.report.is_waiting = True
            return f"samples of it belong to {missing[0]}, which is not whole yet", False
        if why := self._look_at(file):
            return why, True
        if unused := find_unused(self.workspace, file):
            return f"it also holds {unused}, in no shard (see ignored_members)", False
        return "", False

    def _look_at(self, file: SourceFile) -> str:
        place = self.folder / file.path
        try:
            found = place.lstat()
        except OSError as error:
            return f"it cannot be looked at ({error.strerror})"
        if not stat.S_ISREG(found.st_mode):
            return "it is a link or no plain file; deleting it would free nothing"
        if place.resolve() != self.folder.resolve() / file.path:
            return "it is reached through a linked folder"
        if not os.access(place.parent, os.W_OK | os.X_OK):
            return "its folder is read-only; make it writable"
        return file.find_change(FileStat.of(found))

    def _read_shards(self, partitions: set[str]) -> None:
        for key in sorted(partitions):
            shard = self.workspace.paths.shard(key)
            # From the disk, not from what memory still holds of the writing.
            fd = os.open(shard, os.O_RDONLY)
            try:
                drop_cached(fd, 0, 0)
            finally:
                os.close(fd)
            found = verify_shard(self.workspace.paths, key, full=True)
            self.report.problems += [str(problem) for problem in found]

    def _prove(
        self,
        files: list[SourceFile],
        num_workers: int,
        observe: Observe | None,
    ) -> list[Proof]:
        encode = self.workspace.kind.encoder()
        entries = {
            sample.key: (self.workspace.paths.shard(key), sample)
            for key, record in self.records.items()
            for sample in record.samples
        }

        def stage(item: SourceItem) -> Staged:
            return self.workspace.stage([item])[item.key]

        def prove(file: SourceFile) -> Proof:
            return prove_file(file, self.folder, entries=entries, stage=stage, encode=encode)

        proofs: list[Proof] = []
        workers = num_workers or os.cpu_count() or 1
        with closing(iter_in_order(files, prove, num_workers=workers)) as results:
            for proof in results:
                proofs.append(proof)
                self._observe(observe, len(proofs), len(files))
        return proofs

    def _intend(self, proofs: list[Proof]) -> None:
        """Note what is about to go, unless the plan is another one by now.

        Under the lock of the catalog, because a refresh that lays other samples into a shard must
        see the note, or this run the new plan.
        """
        with lock_file(self.workspace.paths.catalog_lock):
            plan = self.workspace.read_plan()
            for key, record in self.records.items():
                if record.plan_fingerprint != today_fingerprint(self.workspace, plan, key):
                    msg = f"{key}: the catalog changed meanwhile; build it, then run this again"
                    raise ReclaimError(msg)
            for key, journal in self.journals.items():
                journal.intend(self._describe(p) for p in proofs if key in p.file.partitions)

    def _unlink(self, proofs: list[Proof], observe: Observe | None) -> None:
        gone: list[Proof] = []
        try:
            for proof in proofs:
                if self._unlink_one(proof):
                    gone.append(proof)
                    self.report.deleted.append(self._describe(proof))
                    self._observe(observe, len(gone), len(proofs))
        finally:
            # After Ctrl-C, too, the journal says what is gone.
            for folder in {(self.folder / proof.file.path).parent for proof in gone}:
                fsync_folder(folder)
            self._confirm([proof.file for proof in gone])

    def _unlink_one(self, proof: Proof) -> bool:
        """Delete a file if it is still the one that was proven; else say why it stays."""
        place = self.folder / proof.file.path
        try:
            if FileStat.of(place.lstat()) != proof.stat:
                self._keep(proof, "it changed while it was compared")
                return False
            place.unlink()
        except OSError as error:
            self._keep(proof, f"it cannot be deleted ({error.strerror})")
            return False
        return True

    def _confirm(self, files: list[SourceFile]) -> None:
        for key, journal in self.journals.items():
            journal.confirm(
                f.path for f in files if key in f.partitions and f.path in journal.intended
            )

    def _describe(self, proof: Proof) -> Deletion:
        assert proof.stat is not None
        return Deletion(
            path=proof.file.path,
            num_bytes=proof.stat.num_bytes,
            mtime_ns=proof.stat.mtime_ns,
            sha256=proof.sha256,
            shards={key: self.records[key].sha256 for key in proof.file.partitions},
        )

    def _keep(self, proof: Proof, why: str) -> None:
        num_bytes = proof.stat.num_bytes if proof.stat else 0
        self.report.kept.append(Kept(proof.file.path, num_bytes, why, is_trouble=True))

    def _observe(self, observe: Observe | None, done: int, total: int) -> None:
        if observe is not None:
            key, freed = self.report.partition_key, self.report.freed_bytes
            observe(ReclaimProgress(key, done, total, freed))

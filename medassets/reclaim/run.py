"""One run over the source files of one shard: prove, note, delete, note again."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError, ShardIntegrityError
from medassets.progress import SourceDone
from medassets.reclaim.claims import Needs
from medassets.reclaim.proof import Proof, prove_file
from medassets.reclaim.report import Kept, Observe, ReclaimReport
from medassets.reclaim.source_files import CHANGED, FileStat, SourceFile, find_unused
from medassets.reclaim.units import Unit, measure_unit, open_unit
from medassets.samples import SourceItem, Staged
from medassets.shards.pipeline import iter_in_order
from medassets.shards.reclaim_journal import Deletion, ReclaimJournal
from medassets.shards.record import ShardRecord
from medassets.shards.verify import verify_shard
from medassets.storage.disk import drop_cached
from medassets.storage.locks import lock_file


class ReclaimRun:
    """One run over the files of one shard, under the locks of all shards that hold their samples."""

    def __init__(
        self,
        workspace: Workspace,
        report: ReclaimReport,
        records: dict[str, ShardRecord],
        needs: Needs,
    ) -> None:
        self.workspace, self.report, self.records = workspace, report, records
        self.needs = needs
        self.folder = workspace.source_folder
        self.journals = {
            key: ReclaimJournal.read(workspace.paths.reclaim_journal(key)) for key in records
        }
        self.rejected = {
            rejected.key: f"{rejected.reason}: {rejected.detail}"
            for record in records.values()
            for rejected in record.rejected
        }

    def find_remaining(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """Return the files that were not deleted before; note deletions that a killed run did not."""
        own = self.journals[self.report.partition_key]
        left: list[SourceFile] = []
        for file in files:
            if not self._open(file).is_gone():
                # This includes a file that was deleted and later restored.
                left.append(file)
            elif file.path in own.intended and not self._was_put_back(file.path):
                self.report.already.append(own.intended[file.path])
                if self.report.confirmed:
                    self._confirm([file])
            elif file.path in own.deleted:
                self.report.already.append(own.deleted[file.path])
            else:
                self.report.vanished.append(file.path)
        return left

    def _was_put_back(self, path: str) -> bool:
        """Tell whether no run came to delete a series, so that it is gone for another reason."""
        own = self.journals[self.report.partition_key]
        return path in own.set_aside and path not in own.committed

    def may_delete(self, file: SourceFile) -> bool:
        """Tell whether a file may be deleted once it is proven to be in the shards; else report why not."""
        why, is_trouble = self._find_reason(file)
        if why:
            _, num_bytes = measure_unit(self._open(file))
            self.report.kept.append(Kept(file.path, num_bytes, why, is_trouble))
        return not why

    def delete(
        self,
        files: list[SourceFile],
        num_workers: int,
        observe: Observe | None,
    ) -> None:
        """Prove all files, then delete those that are proven; nothing if a shard has a problem."""
        if not files:
            return
        shards = sorted({key for file in files for key in file.partitions})
        before = self._stat_shards(shards)
        self._read_shards(shards)
        if self.report.problems:
            return
        proofs = self._prove(files, num_workers, observe)
        for proof in proofs:
            self.report.problems += proof.problems
        if self.report.problems:
            return
        # Comparing takes long, and other datasets may have lost shards meanwhile.
        self.needs.forget_work()
        sure = [proof for proof in proofs if not proof.why and not self._is_claimed(proof)]
        self.report.kept += [
            Kept(
                p.file.path,
                p.stat.num_bytes if p.stat else 0,
                f"{p.why}; {self._name_remedy(p.file)}" if p.is_other else p.why,
                is_trouble=True,
            )
            for p in proofs
            if p.why
        ]
        self._intend(sure)
        if self._stat_shards(shards) != before or self.report.problems:
            self.report.problems.append("a shard changed while its sources were compared with it")
            return
        self._unlink(sure, observe)

    def _stat_shards(self, partitions: Sequence[str]) -> list[FileStat]:
        """Return the current facts of the shards' files."""
        found: list[FileStat] = []
        for key in partitions:
            shard = self.workspace.paths.shard(key)
            try:
                found.append(FileStat.of(shard.lstat()))
            except OSError as error:
                self.report.problems.append(f"{shard}: it cannot be read ({error.strerror})")
        return found

    def _find_reason(self, file: SourceFile) -> tuple[str, bool]:
        """Return why a file must be kept, empty if it need not, and whether that needs attention."""
        rejected = [item.key for item in file.items if item.key in self.rejected]
        if rejected:
            why = f"{rejected[0]}: {self.rejected[rejected[0]]}"
            if changed := self._find_change(file):
                why = f"{why}. Since then {changed}"
            return f"a sample of it was rejected: {why}", False
        if not file.is_planned:
            return f"{file.num_unplanned} of its samples are in no shard", False
        missing = sorted(set(file.partitions) - set(self.records))
        if missing:
            self.report.is_waiting = True
            return f"samples of it belong to {missing[0]}, which is not whole yet", False
        if why := self._look_at(file) or find_owner(self.folder / file.path):
            return why, True
        if unused := find_unused(self.workspace, file):
            hint = " (see ignored_members)" if self._has_members else ""
            return f"it also holds {unused}, in no shard{hint}", False
        return self.needs.find_claim(self._open(file).list_places()), True

    @property
    def _has_members(self) -> bool:
        source = self.workspace.kind.ct_source
        return source is not None and "ignored_members" in source.DELETION_FIELDS

    def _open(self, file: SourceFile) -> Unit:
        return open_unit(self.workspace, file.path)

    def _look_at(self, file: SourceFile) -> str:
        return self._open(file).find_obstacle() or self._find_change(file)

    def _find_change(self, file: SourceFile) -> str:
        """Return how a file differs from what its shard was made of, and the remedy."""
        try:
            change = file.find_change(self._open(file).stat())
        except OSError as error:
            return f"it cannot be examined ({error.strerror})"
        return f"{change}; {self._name_remedy(file)}" if change else ""

    def _name_remedy(self, file: SourceFile) -> str:
        """Return what to do about a file that is not what its shard was made of."""
        if any(self.journals[key].deleted for key in file.partitions):
            return "its shard cannot be made again: under a new name it becomes a new sample"
        return "build again"

    def _read_shards(self, partitions: Sequence[str]) -> None:
        for key in partitions:
            shard = self.workspace.paths.shard(key)
            try:
                # Read from the disk, not from the page cache.
                fd = os.open(shard, os.O_RDONLY)
                try:
                    drop_cached(fd, 0, 0)
                finally:
                    os.close(fd)
                found = [
                    str(problem) for problem in verify_shard(self.workspace.paths, key, full=True)
                ]
            except OSError as error:
                found = [f"{shard}: it cannot be read ({error.strerror})"]
            self.report.problems += found

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
            return prove_file(
                file, self._open(file).stat, entries=entries, stage=stage, encode=encode
            )

        proofs: list[Proof] = []
        workers = num_workers or os.cpu_count() or 1
        with closing(iter_in_order(files, prove, num_workers=workers)) as results:
            for proof in results:
                proofs.append(proof)
                self._observe(observe, len(proofs), len(files))
        return proofs

    def _intend(self, proofs: list[Proof]) -> None:
        """Note what is about to be deleted, unless the plan has changed.

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
        begun: list[Proof] = []
        deleted = self.report.deleted
        self._scan_again()
        try:
            for proof in proofs:
                if not self._may_unlink(proof):
                    continue
                begun.append(proof)
                if self._unlink_one(proof):
                    deleted.append(self._describe(proof))
                    self._observe(observe, len(deleted), len(proofs))
                else:
                    begun.pop()
        finally:
            # Note deletions also after Ctrl-C, which can come between a deletion and its report.
            last = begun[len(deleted) :]
            deleted += [self._describe(p) for p in last if self._open(p.file).is_gone()]
            gone = [proof.file for proof in begun[: len(deleted)]]
            for file in gone:
                self._open(file).sync()
            self._confirm(gone)

    def _scan_again(self) -> None:
        """Look for files that appeared since the series of a source were read."""
        source = self.workspace.kind.ct_source
        if source is not None and source.series is not None:
            source.series.scan()

    def _may_unlink(self, proof: Proof) -> bool:
        """Tell whether a file is still the one that was proven; else report why it is kept."""
        unit = self._open(proof.file)
        try:
            found = unit.stat()
            is_linked = any(place.lstat().st_nlink > 1 for place in unit.list_places())
        except OSError as error:
            self._keep(proof, f"it cannot be deleted ({error.strerror})")
            return False
        if found != proof.stat:
            self._keep(proof, CHANGED)
            return False
        if is_linked:
            self.report.linked.add(proof.file.path)
        return True

    def _unlink_one(self, proof: Proof) -> bool:
        """Delete a file, or all of a series; else report why it is kept."""
        assert proof.stat is not None
        journals = [self.journals[key] for key in proof.file.partitions]
        why = self._open(proof.file).remove(proof.stat, journals)
        if why:
            self._keep(proof, why)
        return not why

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

    def _is_claimed(self, proof: Proof) -> bool:
        """Tell whether another dataset needs a file that was proven; report it if so."""
        claim = self.needs.find_claim(self._open(proof.file).list_places())
        if claim:
            self._keep(proof, claim)
        return bool(claim)

    def _keep(self, proof: Proof, why: str) -> None:
        num_bytes = proof.stat.num_bytes if proof.stat else 0
        self.report.kept.append(Kept(proof.file.path, num_bytes, why, is_trouble=True))

    def _observe(self, observe: Observe | None, done: int, total: int) -> None:
        if observe is not None:
            key, freed = self.report.partition_key, self.report.freed_bytes
            observe(SourceDone(partition_key=key, done=done, total=total, freed_bytes=freed))


def find_owner(place: Path) -> str:
    """Return why a tar that is itself a shard of a dataset must be kept; empty for other files.

    Args:
        place: A source file.
    """
    record = place.with_suffix(".json")
    if place.suffix != ".tar" or not record.exists():
        return ""
    try:
        owner = ShardRecord.read(record).dataset
    except (OSError, ShardIntegrityError):
        return ""
    return (
        f"it is a shard of the dataset {owner}, which could not be made again; delete it yourself"
    )

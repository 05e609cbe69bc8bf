"""One export, whatever its format: what is missing is written, and the index says what is there."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from medassets.errors import CatalogError, ShardIntegrityError
from medassets.exports.formats import ExportFormat, ExportOptions, ExportResult, Listed
from medassets.exports.journal import Exported, ExportJournal
from medassets.exports.members import OpenShard, open_shard
from medassets.exports.target import is_whole, open_folder, remove_leftovers
from medassets.progress import report
from medassets.shards.files import read_whole_record
from medassets.shards.pipeline import iter_in_order
from medassets.shards.record import SampleEntry
from medassets.shards.writer import Progress
from medassets.storage.atomic import fsync_folder, publish_bytes
from medassets.storage.checksums import fingerprint
from medassets.storage.disk import require_free_bytes
from medassets.storage.locks import lock_file
from medassets.storage.paths import DatasetPaths, split_partition_key
from medassets.tars.header import check_names

# Most of a thread's time is waiting for the disk.
_MOST_WORKERS = 8
_ORIGIN_DIGITS = 32


def run_export(
    paths: DatasetPaths,
    partitions: Sequence[str],
    out: Path,
    *,
    form: ExportFormat,
    options: ExportOptions,
    on_wait: Callable[[], None] | None = None,
) -> ExportResult:
    """Bring a folder up to date with the shards of a dataset.

    Whole samples are skipped; a killed export goes on; new samples take the next names; a sample
    whose bytes in the shard have changed is written again. One export works on a folder at a time.

    Args:
        paths: Where the dataset lies; its stage is that of the format.
        partitions: All partition keys of the plan, in order.
        out: Target folder; made where it is missing.
        form: The format.
        options: What the user asked for.
        on_wait: Called once if another export of this folder has to be waited for.

    Raises:
        CatalogError: If no shard is there, or the folder's journal is damaged.
        UsageError: If the folder holds another export, or cannot be written to.
        DiskSpaceError: If the disk cannot hold what is to be written.
    """
    paths = replace(paths, stage=form.stage)
    open_folder(out, "--out")
    with (
        lock_file(out / ".export.lock", on_wait=on_wait),
        ExportJournal(out, form.name, paths.dataset) as journal,
    ):
        return _Exporter(paths, partitions, form, options, journal).run()


class _Exporter:
    """One export, under the lock of its folder."""

    def __init__(
        self,
        paths: DatasetPaths,
        partitions: Sequence[str],
        form: ExportFormat,
        options: ExportOptions,
        journal: ExportJournal,
    ) -> None:
        self.paths, self.form, self.options, self.journal = paths, form, options, journal
        self.partitions = dict.fromkeys(partitions)
        self.workers = options.num_workers or min(_MOST_WORKERS, 2 * (os.cpu_count() or 1))
        # Key -> split, of all samples of shards that were looked at, None until they are whole.
        self.seen: dict[str, str | None] = {}
        self.todo: dict[str, list[str]] = {}
        self.todo_bytes = 0
        self.skipped: Counter[str] = Counter()
        self.result = ExportResult(index=journal.folder)

    def run(self) -> ExportResult:
        for folder in {place.rpartition("/")[0] for place in self.journal.places.values()}:
            remove_leftovers(self.journal.folder / folder)
        examined = self._survey()
        total = sum(len(keys) for keys in self.todo.values())
        purpose = f"the export of {total:,} samples"
        require_free_bytes(self.journal.folder, self.todo_bytes, purpose=purpose)
        for partition, keys in self.todo.items():
            self._export_partition(partition, set(keys), total)
        self.result.skipped = dict(sorted(self.skipped.items()))
        self._publish_index(examined)
        return self.result

    def _survey(self) -> set[str]:
        """Find what has to be written, and name it; return the partitions that were looked at."""
        wanted = [key for key in self.partitions if self._is_asked_for(key)]
        examined = {key for key in wanted if self._survey_partition(key)}
        self.result.absent = [key for key in wanted if key not in examined]
        if not examined and not self.journal.exported:
            name, stage, first = self.paths.dataset, self.paths.stage, self.paths.build_command
            msg = f"{name}: no shard of stage {stage} is there yet; `{first}` first"
            raise CatalogError(msg)
        return examined

    def _is_asked_for(self, partition: str) -> bool:
        return not self.options.splits or split_partition_key(partition)[0] in self.options.splits

    def _survey_partition(self, partition: str) -> bool:
        record = read_whole_record(self.paths, partition)
        if record is None:
            return False
        with open_shard(record, self.paths.shard(partition)) as shard:
            samples = [sample for sample in record.samples if self._is_exported(shard, sample)]
        named = len(self.journal.places)
        new = [sample.key for sample in samples if sample.key not in self.journal.places]
        self.journal.give_places(
            {key: self.form.place(number, key) for number, key in enumerate(new, named)}
        )
        todo = [sample for sample in samples if not self._is_done(partition, sample)]
        if todo:
            self.todo[partition] = [sample.key for sample in todo]
            self.todo_bytes += sum(self.form.estimate_bytes(sample) for sample in todo)
        return True

    def _is_exported(self, shard: OpenShard, sample: SampleEntry) -> bool:
        self.seen[sample.key] = None
        try:
            # The key becomes the name of a file.
            check_names(sample.key, (member.suffix for member in sample.members))
            reason = self.form.find_reason_to_skip(shard, sample)
        except ShardIntegrityError as error:
            self.result.problems.append(str(error))
            return False
        if reason is not None:
            self.skipped[reason] += 1
        return reason is None

    def _is_done(self, partition: str, sample: SampleEntry) -> bool:
        """Tell whether a sample is whole and made from today's bytes, and list it if so."""
        known = self.journal.exported.get(sample.key)
        if known is None or self.options.force or known.origin != self._origin(sample):
            return False
        if not is_whole(self.form.files(self._target(sample.key)), known):
            return False
        if known.partition != partition:
            self.journal.note(replace(known, partition=partition))
        self.seen[sample.key] = split_partition_key(partition)[0]
        self.result.kept += 1
        return True

    def _origin(self, sample: SampleEntry) -> str:
        members = [[m.suffix, m.size_bytes, m.crc32] for m in sample.members]
        settings = {"format": self.form.name, **self.form.settings}
        return fingerprint({"settings": settings, "members": members})[:_ORIGIN_DIGITS]

    def _target(self, key: str) -> Path:
        return self.journal.folder / self.journal.places[key]

    def _export_partition(self, partition: str, keys: set[str], total: int) -> None:
        record = read_whole_record(self.paths, partition)
        if record is None:
            self.result.problems.append(f"{partition}: its shard has just gone; export again")
            return
        todo = [sample for sample in record.samples if sample.key in keys]
        with open_shard(record, self.paths.shard(partition)) as shard:

            def work(sample: SampleEntry) -> Exported | ShardIntegrityError:
                return self._write(shard, sample)

            results = iter_in_order(todo, work, num_workers=self.workers)
            with closing(results):
                for done in results:
                    self._take(done, partition, total)
        for folder in {self._target(key).parent for key in keys}:
            fsync_folder(folder)

    def _write(self, shard: OpenShard, sample: SampleEntry) -> Exported | ShardIntegrityError:
        target = self._target(sample.key)
        try:
            written, info = self.form.write(shard, sample, target, force=self.options.force)
        except ShardIntegrityError as error:
            return error
        return Exported(
            key=sample.key,
            partition=shard.record.partition,
            origin=self._origin(sample),
            sizes=written.sizes,
            crc32=written.crc32,
            mtime_ns=written.mtime_ns,
            info=info,
        )

    def _take(self, done: Exported | ShardIntegrityError, partition: str, total: int) -> None:
        if isinstance(done, ShardIntegrityError):
            self.result.problems.append(str(done))
            return
        self.journal.note(done)
        self.seen[done.key] = split_partition_key(partition)[0]
        self.result.written += 1
        self.result.written_bytes += sum(done.sizes)
        report(
            Progress(
                partition_key=partition,
                key=done.key,
                done=self.result.kept + self.skipped.total() + self.result.written,
                total=total,
                rejected=len(self.result.problems),
                size_bytes=self.result.written_bytes,
            )
        )

    def _publish_index(self, examined: set[str]) -> None:
        listed: list[Listed] = []
        for key, place in self.journal.places.items():
            exported = self.journal.exported.get(key)
            split = self.seen.get(key) or self._split_of_unseen(key, exported, examined)
            if exported is not None and split:
                listed.append((place, split, exported))
        self.result.listed = dict(sorted(Counter(split for _, split, _ in listed).items()))
        name, content = self.form.encode_index(listed)
        self.result.index = self.journal.folder / name
        publish_bytes(self.result.index, content)

    def _split_of_unseen(
        self, key: str, exported: Exported | None, examined: set[str]
    ) -> str | None:
        """Return the split of a whole sample whose shard this run did not look at."""
        if exported is None or key in self.seen:
            return None
        known = exported.partition in self.partitions
        if not known or exported.partition in examined:
            self.result.retired += 1
            return None
        if not is_whole(self.form.files(self._target(key)), exported):
            self.result.problems.append(
                f"{self._target(key)}: no longer whole; export {exported.partition} again"
            )
            return None
        return split_partition_key(exported.partition)[0]

"""One export of any format: missing samples are written, and the index lists all."""

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from medassets.errors import CatalogError, ForeignFileError, MedassetsError, ShardIntegrityError
from medassets.exports.formats import ExportFormat, ExportOptions, ExportResult, Listed
from medassets.exports.journal import Exported, ExportJournal
from medassets.exports.survey import Survey, Surveyor
from medassets.exports.target import Target, Written, clean_up, open_folder
from medassets.progress import SampleDone, report
from medassets.shards.contents import OpenShard, open_shard
from medassets.shards.files import read_whole_record
from medassets.shards.pipeline import iter_in_order
from medassets.shards.record import SampleEntry
from medassets.storage.atomic import fsync_folder, publish_bytes
from medassets.storage.disk import require_free_bytes
from medassets.storage.locks import lock_file
from medassets.storage.ownership import require_ours
from medassets.storage.paths import DatasetPaths, split_partition_key
from medassets.storage.unreadable import read_regular

# A thread mostly waits for the disk.
_MOST_WORKERS = 8


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

    Whole samples are skipped; a killed export is resumed; new samples take the next names; a sample
    whose bytes in the shard have changed is written again. One export works on a folder at a time.
    Files that the export did not make, or that were changed since, are neither replaced nor removed.

    Args:
        paths: Paths of the dataset; the stage is that of the format.
        partitions: All partition keys of the plan, in order.
        out: Target folder; created where it is missing.
        form: The format.
        options: What the user asked for.
        on_wait: Called once if another export of this folder is running.

    Raises:
        CatalogError: If no shard exists, or the folder's journal is damaged.
        UsageError: If the folder holds another export, or cannot be written to.
        ForeignFileError: If something that this export did not make is where it would write;
            nothing was written.
        DiskSpaceError: If the disk cannot hold what is to be written.
    """
    paths = replace(paths, stage=form.stage)
    open_folder(out, "--out")
    with (
        lock_file(out / ".export.lock", on_wait=on_wait),
        ExportJournal(out, form.name, paths.dataset, form.file_names) as journal,
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
        self.surveyor = Surveyor(paths, form, journal, options.force)
        self.found = Survey()
        self.result = ExportResult(index=journal.folder / form.index_name)

    def run(self) -> ExportResult:
        self._clean_up()
        self._survey()
        total = sum(len(keys) for keys in self.found.todo.values())
        purpose = f"the export of {total:,} samples"
        require_free_bytes(self.journal.folder, self.found.todo_bytes, purpose=purpose)
        self.journal.give_places(self.found.new_places)
        for moved in self.found.moved:
            self.journal.note(moved)
        for partition, keys in self.found.todo.items():
            self._export_partition(partition, set(keys), total)
        self._publish_index()
        return self.result

    def _clean_up(self) -> None:
        """Finish or undo what a killed export began."""
        folders: dict[str, dict[str, set[str]]] = {}
        for key, place in self.journal.places.items():
            folder, _, name = place.rpartition("/")
            names = {name for one in self.journal.known(key) for name in one.names}
            folders.setdefault(folder, {})[name] = names | set(self.form.file_names)
        for folder, places in folders.items():
            clean_up(self.journal.folder / folder, places)

    def _survey(self) -> None:
        """Find what has to be written, before anything is."""
        wanted = [key for key in self.partitions if self._is_asked_for(key)]
        self.found = self.surveyor.survey(wanted)
        self.result.absent = [key for key in wanted if key not in self.found.examined]
        if not self.found.examined and not self.journal.exported:
            name, stage, first = self.paths.dataset, self.paths.stage, self.paths.build_command
            msg = f"{name}: no shard of stage {stage} exists yet; run `{first}` first"
            raise CatalogError(msg)
        self.result.kept = self.found.kept
        self.result.skipped = dict(sorted(self.found.skipped.items()))
        self.result.problems += self.found.problems

    def _is_asked_for(self, partition: str) -> bool:
        return not self.options.splits or split_partition_key(partition)[0] in self.options.splits

    def _export_partition(self, partition: str, keys: set[str], total: int) -> None:
        record = read_whole_record(self.paths, partition)
        if record is None:
            self.result.problems.append(f"{partition}: its shard was just removed; export again")
            return
        todo = [sample for sample in record.samples if sample.key in keys]
        with open_shard(record, self.paths.shard(partition)) as shard:

            def work(sample: SampleEntry) -> Exported | MedassetsError:
                return self._write(shard, sample)

            results = iter_in_order(todo, work, num_workers=self.workers)
            with closing(results):
                for done in results:
                    self._take(done, partition, total)
        for folder in {self._place(key).parent for key in keys}:
            # Nothing was written into a folder that no sample made.
            if folder.is_dir():
                fsync_folder(folder)

    def _place(self, key: str) -> Path:
        return self.journal.folder / self.journal.places[key]

    def _write(self, shard: OpenShard, sample: SampleEntry) -> Exported | MedassetsError:
        exported = Exported(
            key=sample.key,
            partition=shard.record.partition,
            origin=self.surveyor.origin(sample),
            sizes=(),
            crc32=(),
            mtime_ns=(),
            names=self.form.file_names,
        )

        def note(written: Written, info: Mapping[str, Any] | None) -> None:
            self.journal.note(replace(exported, **vars(written), info=info))

        target = Target(
            path=self._place(sample.key),
            known=self.journal.known(sample.key),
            note=note,
            force=self.options.force,
        )
        try:
            return replace(exported, **vars(self.form.write(shard, sample, target)))
        except (ShardIntegrityError, ForeignFileError) as error:
            return error

    def _take(self, done: Exported | MedassetsError, partition: str, total: int) -> None:
        if isinstance(done, MedassetsError):
            self.result.problems.append(str(done))
            return
        self.found.seen[done.key] = split_partition_key(partition)[0]
        self.result.written += 1
        self.result.written_bytes += sum(done.sizes)
        report(
            SampleDone(
                partition_key=partition,
                key=done.key,
                done=self.result.kept + self.found.skipped.total() + self.result.written,
                total=total,
                rejected=len(self.result.problems),
                size_bytes=self.result.written_bytes,
            )
        )

    def _publish_index(self) -> None:
        listed: list[Listed] = []
        for key, place in self.journal.places.items():
            exported = self.journal.exported.get(key)
            split = self.found.seen.get(key) or self._split_of_unseen(key, exported)
            if exported is not None and split:
                listed.append((place, split, exported))
        self.result.listed = dict(sorted(Counter(split for _, split, _ in listed).items()))
        content = self.form.encode_index(listed, folder=self.journal.folder.resolve())
        is_ours = self.surveyor.is_our_index
        require_ours(self.result.index, is_ours)
        if self.result.index.exists():
            # Older versions noted none, and after the next line only noted ones are ours.
            self.journal.note_index(self.form.index_name, read_regular(self.result.index))
        self.journal.note_index(self.form.index_name, content)
        publish_bytes(self.result.index, content, is_ours=is_ours)

    def _split_of_unseen(self, key: str, exported: Exported | None) -> str | None:
        """Return the split of a whole sample whose shard this run did not look at."""
        if exported is None or key in self.found.seen:
            return None
        known = exported.partition in self.partitions
        if not known or exported.partition in self.found.examined:
            self.result.retired += 1
            return None
        if not exported.is_whole(self._place(key)):
            self.result.problems.append(
                f"{self._place(key)}: no longer whole; export {exported.partition} again"
            )
            return None
        return split_partition_key(exported.partition)[0]

"""What an export has to write, and what is in its way, found before the first write."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from medassets.errors import ForeignFileError, ShardIntegrityError, UsageError
from medassets.exports.formats import ExportFormat, Listed
from medassets.exports.journal import Exported, ExportJournal
from medassets.exports.target import find_foreign, private_names
from medassets.shards.contents import OpenShard, open_shard
from medassets.shards.files import read_whole_record
from medassets.shards.made_from import explain_unlike
from medassets.shards.record import SampleEntry
from medassets.storage.checksums import crc32, fingerprint
from medassets.storage.ownership import is_plain_file, name_first
from medassets.storage.paths import DatasetPaths, split_partition_key
from medassets.storage.unreadable import read_regular
from medassets.tars.header import check_names

_ORIGIN_DIGITS = 32


@dataclass
class Survey:
    """What was found; nothing is written before all shards were examined.

    Attributes:
        examined: Partitions whose shard exists.
        seen: Key -> split, of all samples of these shards; None for those whose files are not whole.
        new_places: Key -> name of samples that get one now.
        moved: Samples whose files are whole, and whose partition is another one now.
        todo: Partition -> keys to write.
        todo_bytes: About how many bytes these take.
        kept: Samples that are whole and fresh.
        skipped: Reason -> samples left out.
        foreign: What exists where the export would write, and was not made by it.
        problems: Samples that could not be read, and why.
        meanings: Partition -> what its samples mean; empty where the record does not say.
    """

    examined: set[str] = field(default_factory=set)
    seen: dict[str, str | None] = field(default_factory=dict)
    new_places: dict[str, str] = field(default_factory=dict)
    moved: list[Exported] = field(default_factory=list)
    todo: dict[str, list[str]] = field(default_factory=dict)
    todo_bytes: int = 0
    kept: int = 0
    skipped: Counter[str] = field(default_factory=Counter)
    foreign: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    meanings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Surveyor:
    """Compares shards with the target folder.

    Attributes:
        paths: Paths of the dataset, of the format's stage.
        form: The format.
        journal: Journal of the target folder.
        force: Whether samples that are whole are written again.
    """

    paths: DatasetPaths
    form: ExportFormat
    journal: ExportJournal
    force: bool

    def survey(self, partitions: Sequence[str]) -> Survey:
        """Return what has to be written of some partitions.

        Raises:
            ForeignFileError: If something that this export did not make is in the way.
            UsageError: If the folder holds samples in a form that the user did not choose.
            ShardIntegrityError: If shards were made by settings that do not fit together.
        """
        found = Survey()
        index = self.journal.folder / self.form.index_name
        if not self.is_our_index(index):
            found.foreign.append(index)
        for partition in partitions:
            self._survey_partition(found, partition)
        if unlike := explain_unlike(self.paths.dataset, found.meanings.items()):
            msg = f"{unlike}; nothing was written"
            raise ShardIntegrityError(msg)
        found.foreign += self._find_files_as_folders(found)
        if found.foreign:
            msg = (
                f"--out: {self.journal.folder} holds files that this export did not make, or that "
                f"were changed since, where it would write: {name_first(found.foreign)}. Nothing was "
                f"written. Move or delete them, or choose another folder"
            )
            raise ForeignFileError(msg)
        return found

    def origin(self, sample: SampleEntry) -> str:
        """Return the hash of everything that a sample's files depend on."""
        return self._origin(sample, self.form.settings)

    def _origin(self, sample: SampleEntry, settings: Mapping[str, Any]) -> str:
        members = [[m.suffix, m.size_bytes, m.crc32] for m in sample.members]
        facts = {"settings": {"format": self.form.name, **settings}, "members": members}
        return fingerprint(facts)[:_ORIGIN_DIGITS]

    def _survey_partition(self, found: Survey, partition: str) -> None:
        record = read_whole_record(self.paths, partition)
        if record is None:
            return
        found.examined.add(partition)
        found.meanings[partition] = record.facts.meaning if record.facts else ""
        with open_shard(record, self.paths.shard(partition)) as shard:
            samples = [one for one in record.samples if self._is_exported(found, shard, one)]
        todo = [one for one in samples if not self._is_done(found, partition, one)]
        for sample in todo:
            self._find_place(found, sample.key)
        if todo:
            found.todo[partition] = [sample.key for sample in todo]
            found.todo_bytes += sum(self.form.estimate_bytes(sample) for sample in todo)

    def _is_exported(self, found: Survey, shard: OpenShard, sample: SampleEntry) -> bool:
        found.seen[sample.key] = None
        try:
            # The key becomes the name of a file.
            check_names(sample.key, (member.suffix for member in sample.members))
            reason = self.form.find_reason_to_skip(shard, sample)
        except ShardIntegrityError as error:
            found.problems.append(str(error))
            return False
        if reason is not None:
            found.skipped[reason] += 1
        return reason is None

    def _is_done(self, found: Survey, partition: str, sample: SampleEntry) -> bool:
        """Tell whether a sample is whole and made from the current bytes."""
        known = self.journal.exported.get(sample.key)
        if known is None or self.force:
            return False
        if known.origin != self.origin(sample):
            self._refuse_other_form(known, sample)
            return False
        if not known.is_whole(self.journal.folder / self.journal.places[sample.key]):
            return False
        if known.partition != partition:
            found.moved.append(replace(known, partition=partition))
        found.seen[sample.key] = split_partition_key(partition)[0]
        found.kept += 1
        return True

    def _refuse_other_form(self, known: Exported, sample: SampleEntry) -> None:
        for option, settings in self.form.unasked.items():
            if known.origin == self._origin(sample, settings):
                what = (
                    f"{self.journal.folder} holds samples as an export with {option} writes them; "
                    f"choose: {option} keeps them, another value writes all of them again"
                )
                raise UsageError(field=option.split()[0], what=what)

    def _find_place(self, found: Survey, key: str) -> None:
        """Name a sample where it has no name yet, and find what is in its way."""
        place = self.journal.places.get(key)
        if place is None:
            number = len(self.journal.places) + len(found.new_places)
            place = found.new_places[key] = self.form.place(number, key)
            path = self.journal.folder / place
            found.foreign += find_foreign(path, (), ())
            found.foreign += [one for one in private_names(path) if os.path.lexists(one)]
        elif known := self.journal.known(key):
            found.foreign += find_foreign(self.journal.folder / place, known, self.form.file_names)

    def _find_files_as_folders(self, found: Survey) -> list[Path]:
        """Return what has the name of a folder that an index or a sample needs, and is not a folder."""
        places = {**self.journal.places, **found.new_places}
        written = [places[key] for keys in found.todo.values() for key in keys]
        parents = {
            parent for place in (*written, self.form.index_name) for parent in Path(place).parents
        }
        paths = sorted(self.journal.folder / parent for parent in parents)
        return [path for path in paths if os.path.lexists(path) and not path.is_dir()]

    def is_our_index(self, path: Path) -> bool:
        """Tell whether an index may be replaced; see `is_index_as_written`."""
        return not os.path.lexists(path) or is_index_as_written(path, self.form, self.journal)


def is_index_as_written(path: Path, form: ExportFormat, journal: ExportJournal) -> bool:
    """Tell whether an index is what an export of the folder wrote last, and was not changed since.

    Args:
        path: The index.
        form: Format of the export.
        journal: Journal of the folder. Older versions noted no index: it is then compared with the
            index of the journal's samples.
    """
    if not is_plain_file(path):
        return False
    content, noted = read_regular(path), journal.indexes.get(form.index_name)
    if noted:
        return (len(content), crc32(content)) in noted
    try:
        named = form.read_index(content)
    except ValueError:
        return False
    listed: list[Listed] = [
        (place, split_partition_key(exported.partition)[0], exported)
        for key, place in journal.places.items()
        if place in named and (exported := journal.exported.get(key))
    ]
    whole = form.encode_index(listed, folder=journal.folder.resolve())
    return not journal.is_new and content in (whole, form.encode_index(listed))

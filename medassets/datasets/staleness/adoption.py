"""Adopt stale shards whose samples today's inputs and settings make again, without making them."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from medassets.arrays import BytesLike
from medassets.datasets.build import describe_inputs, plan_shard
from medassets.datasets.staleness.reasons import Staleness, Today, read_json
from medassets.errors import MedassetsError, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, Staged
from medassets.shards.files import lock_path, read_whole_record
from medassets.shards.fingerprint import was_made_of
from medassets.shards.record import Rejected, SampleEntry, ShardRecord
from medassets.shards.writer import ShardWork
from medassets.storage.checksums import byte_view, parse_json
from medassets.storage.locks import lock_file
from medassets.tars.reader import OpenTar, open_tar

_ALL = "`--all` makes every sample again and compares"


@dataclass(frozen=True)
class Adoption:
    """What became of one shard.

    Attributes:
        partition: Partition key.
        changes: Why it was stale, one line each; empty if only its facts were added.
        proof: What shows that a build would make the same samples; empty if nothing does.
        refused: Why it is not adopted; empty if it is.
    """

    partition: str
    changes: tuple[str, ...] = ()
    proof: str = ""
    refused: str = ""


def adopt_shard(
    today: Today, partition_key: str, *, every_sample: bool = False, dry_run: bool = False
) -> Adoption | None:
    """Write the record of a stale shard anew if its samples are what a build would make.

    The tar is not touched. Samples keep the fingerprint of their json, which is that of the inputs
    and settings that they were made by; the record states those as `adopted`.

    Args:
        today: What shards would be made from today.
        partition_key: The shard.
        every_sample: Make every sample again, instead of the first one where that is enough.
        dry_run: Write nothing.

    Returns:
        What became of it; None if there is nothing to adopt: it is current, or not whole on disk.
    """
    paths = today.workspace.paths
    with lock_file(lock_path(paths.shard(partition_key))):
        record = read_whole_record(paths, partition_key)
        if record is None or (today.is_current(record) and record.facts and record.plan):
            return None
        try:
            found = _prove(today, record, every_sample=every_sample)
        except (MedassetsError, OSError) as error:
            return Adoption(partition_key, refused=str(error))
        if not found.refused and not dry_run:
            _rewrite(today, record, found).write(paths.record(partition_key))
        return found


def _rewrite(today: Today, record: ShardRecord, found: Adoption) -> ShardRecord:
    items = today.workspace.read_partition(record.partition)
    now = describe_inputs(today.workspace.kind, items)
    before = {
        "plan_fingerprint": record.plan_fingerprint,
        "changes": list(found.changes),
        "proof": found.proof,
    }
    return replace(
        record,
        plan_fingerprint=now.plan_fingerprint,
        made_from=now.as_dict(),
        plan=today.workspace.copy_plan(items).as_dict(),
        adopted=before if found.changes else record.adopted,
    )


def _prove(today: Today, record: ShardRecord, *, every_sample: bool) -> Adoption:
    if today.is_current(record):
        return Adoption(record.partition, proof="it is made from today's inputs and settings")
    why = today.explain(record)
    changes = tuple(change.describe() for change in why.changes)
    items = today.workspace.read_partition(record.partition)
    refused = _find_misfit(record, items) or _find_limit(today, why, every_sample=every_sample)
    if refused:
        return Adoption(record.partition, changes, refused=refused)
    work = plan_shard(today.workspace, record.partition, force=True)
    wanted = _choose(why, record, items, every_sample=every_sample)
    try:
        with open_tar(today.workspace.paths.shard(record.partition)) as tar:
            proof = _Proof(today, record, tar, work)
            refused = next(proof.find_differences(wanted), "")
    finally:
        work.release(work.items)
    return Adoption(record.partition, changes, "" if refused else proof.describe(), refused)


def _find_misfit(record: ShardRecord, items: Sequence[SourceItem]) -> str:
    """Return how a shard differs from its plan in its samples; empty if it does not."""
    places = {item.key: place for place, item in enumerate(items)}
    for entries in (record.samples, record.rejected):
        order = [places.get(entry.key, -1) for entry in entries]
        if -1 in order or order != sorted(order):
            return "it holds other samples than today's plan gives it; build it again"
    if len(record.samples) + len(record.rejected) != len(items):
        return "today's plan gives it more samples; build it again"
    return ""


def _find_limit(today: Today, why: Staleness, *, every_sample: bool) -> str:
    """Return why one sample is not enough to show what the others are."""
    if not why.is_alike:
        return "its samples have another form than today's settings make; build it again"
    rules = today.workspace.kind.OLDEST_ALIKE
    versions = {name for name, oldest in rules.items() if oldest is not None}
    limits = [
        change.field
        for change in why.changes
        if change.field
        and not change.key
        and not any(f"{name}.".startswith(f"{change.field}.") for name in versions)
    ]
    if limits and not every_sample:
        return f"{limits[0]} decides which samples are rejected, so that one sample shows nothing; {_ALL}"
    return ""


def _choose(
    why: Staleness, record: ShardRecord, items: Sequence[SourceItem], *, every_sample: bool
) -> list[SourceItem]:
    """Return the items to look at: those whose rows changed, and the first sample of the others."""
    changed = {change.key for change in why.changes if change.key}
    knows_rows = record.facts is not None and bool(record.plan)
    if every_sample or not knows_rows:
        return list(items)
    has_other_settings = any(change.field and not change.key for change in why.changes)
    first = {sample.key for sample in record.samples[:1]} if has_other_settings else set[str]()
    return [item for item in items if item.key in changed | first]


class _Proof:
    """Compares a shard on disk with what a build would make."""

    def __init__(self, today: Today, record: ShardRecord, tar: OpenTar, work: ShardWork) -> None:
        self.today, self.record, self.tar, self.work = today, record, tar, work
        self.num_known, self.num_made = 0, 0

    @cached_property
    def _entries(self) -> dict[str, SampleEntry]:
        return {entry.key: entry for entry in self.record.samples}

    @cached_property
    def _rejected(self) -> Mapping[str, Rejected]:
        return {entry.key: entry for entry in self.record.rejected}

    @cached_property
    def _fingerprint(self) -> str:
        return self.today.workspace.kind.fingerprint()

    def describe(self) -> str:
        """Return what was compared."""
        total = len(self.work.items)
        known = f"the files of {self.num_known} of {total} have the digest of their samples"
        made = f"{self.num_made} of {total} were made again and are the same"
        return "; ".join(
            text for text, count in ((known, self.num_known), (made, self.num_made)) if count
        )

    def find_differences(self, items: Collection[SourceItem]) -> Iterator[str]:
        """Yield what a build would make in another way."""
        wanted = {item.key for item in items}
        # Those of the work have their places in the files that another stage made.
        for item in (item for item in self.work.items if item.key in wanted):
            if different := self._compare(item):
                yield f"{item.key}: {different}; build it again"

    def _compare(self, item: SourceItem) -> str:
        staged = self.work.stage([item])[item.key]
        entry = self._entries.get(item.key)
        if entry is not None and self._is_known(item, entry, staged):
            self.num_known += 1
            return ""
        self.num_made += 1
        made = self._make(item, staged)
        if isinstance(made, SampleRejectedError):
            known = self._rejected.get(item.key)
            is_same = known is not None and known.reason == str(made.reason)
            return "" if is_same else f"a build rejects it ({made})"
        try:
            return "a build makes a sample of it" if entry is None else self._differ(entry, made)
        finally:
            made.release()

    def _is_known(self, item: SourceItem, entry: SampleEntry, staged: Staged) -> bool:
        """Return whether file, row and settings have the fingerprint in the sample's json."""
        if isinstance(staged, SampleRejectedError) or staged.others:
            return False
        document = read_json(self.tar, entry)
        source = document.get("source")
        is_file = isinstance(source, Mapping) and source.get("sha256") == staged.sha256
        return is_file and was_made_of(self._fingerprint, item, document)

    def _make(self, item: SourceItem, staged: Staged) -> EncodedSample | SampleRejectedError:
        if isinstance(staged, SampleRejectedError):
            return staged
        try:
            (made,) = self.work.encode([item], staged)
        except SampleRejectedError as error:
            return error
        return made

    def _differ(self, entry: SampleEntry, made: EncodedSample) -> str:
        suffixes = [member.suffix for member in entry.members]
        if [suffix for suffix, _ in made.members] != suffixes:
            return f"a build makes the members {', '.join(s for s, _ in made.members)}"
        for member, (suffix, content) in zip(entry.members, made.members, strict=True):
            stored = self.tar.read(member)
            if not (_is_same_json(stored, content) if suffix == "json" else stored == content):
                return f"a build makes another .{suffix}"
        return ""


def _is_same_json(stored: bytearray, made: BytesLike) -> bool:
    """Return whether two jsons of a sample are the same but for the fingerprint of its settings."""
    return _without_fingerprint(bytes(stored)) == _without_fingerprint(bytes(byte_view(made)))


def _without_fingerprint(content: bytes) -> bytes:
    document = parse_json(content)
    known_by = str(document.get("fingerprint", "")).encode()
    return content.replace(known_by, b"", 1) if known_by else content

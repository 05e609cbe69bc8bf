"""Build one shard: from its plan to a verified file at its final path."""

import itertools
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import Any

from medassets.errors import (
    TRANSIENT_REASONS,
    SampleRejectedError,
    ShardIntegrityError,
    TooManyRejectedError,
)
from medassets.progress import SampleDone
from medassets.samples import Encode, Encoded, SourceItem, Staged
from medassets.shards.failure import FailureNote
from medassets.shards.files import (
    failure_note,
    lock_path,
    partial_paths,
    read_whole_record,
    remove_leftovers,
    written_bytes,
)
from medassets.shards.ledger import PartialShard
from medassets.shards.made_from import MadeFrom
from medassets.shards.pipeline import iter_in_order
from medassets.shards.plan_copy import PlanCopy
from medassets.shards.publication import finish_publication, publish_shard
from medassets.shards.record import Rejected, ShardRecord, content_fingerprint, is_record_of
from medassets.shards.replacement import (
    check_kept,
    check_planned,
    check_same,
    read_held,
)
from medassets.shards.sync_check import SyncCheck
from medassets.storage.atomic import (
    explain_no_space,
)
from medassets.storage.locks import lock_file
from medassets.storage.ownership import require_ours
from medassets.storage.paths import DatasetPaths, split_partition_key

MOST_ITEMS_PER_CALL = 64
"""Samples that one call of `encode` may hold in memory at once."""

_NAMED_REJECTIONS = 5
_MOST_COLLECTED = 100
"""Rejected items after which a shard that fails anyway tries no more of its items."""


def _keep(_: Sequence[SourceItem]) -> None:
    """Release nothing."""


@dataclass(frozen=True, kw_only=True)
class ShardWork:
    """The inputs of one shard; nothing is computed before `ensure_shard`.

    Attributes:
        dataset: Dataset name.
        partition_key: Shard to build.
        items: Its catalog rows, in order.
        plan_fingerprint: Hash of everything that determines its bytes.
        stage: Brings items' files to the local disk; by sample key.
        stage_each: Call `stage` for one item at a time, on the thread that encodes it (a local
            source), instead of once for all remaining items (a remote one).
        release: Called with all items when the shard is published, still under its lock.
        encode: Turns a file into the samples of its items, in order; called on several threads.
            Consecutive items of one path come together, at most `MOST_ITEMS_PER_CALL`, so that
            a file with many samples is opened once. It returns the rejection of an item that cannot
            become a sample, or raises that of all items.
        source: `uri` and `revision`, for the record.
        kind: What its samples are, for the record.
        made_from: The facts behind `plan_fingerprint`, for the record.
        plan: Its part of the plan, for the record.
        expected_bytes: Expected size of the finished tar.
        max_rejected_share: A larger share of rejected items fails the shard.
        num_workers: Threads; 0 means one per core.
        keep_held: Do not replace a shard by one that lacks samples because their sources cannot be read,
            or because the current plan does not assign them to it.
        force: Build the shard again even if it is whole.
    """

    dataset: str
    partition_key: str
    items: tuple[SourceItem, ...] = field(repr=False)
    plan_fingerprint: str
    stage: Callable[[Sequence[SourceItem]], Mapping[str, Staged]]
    encode: Encode
    source: Mapping[str, Any]
    release: Callable[[Sequence[SourceItem]], None] = _keep
    kind: str = ""
    made_from: MadeFrom | None = field(default=None, repr=False)
    plan: PlanCopy | None = field(default=None, repr=False)
    expected_bytes: int = 0
    max_rejected_share: float = 0.05
    num_workers: int = 0
    stage_each: bool = False
    keep_held: bool = False
    force: bool = False


@dataclass(frozen=True)
class ShardResult:
    """The result of `ensure_shard`.

    Attributes:
        record: Its record.
        adopted: Whether it was already whole; nothing was computed.
        resumed: Items reused from an interrupted run.
        seconds: Seconds per stage, summed over threads; empty when adopted.
        wall_s: Seconds from lock to publication.
    """

    record: ShardRecord
    adopted: bool
    resumed: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)
    wall_s: float = 0.0


def ensure_shard(
    paths: DatasetPaths,
    work: ShardWork,
    *,
    observe: Callable[[SampleDone], None] | None = None,
) -> ShardResult:
    """Build a shard unless it is on disk, whole and built from the current inputs.

    A whole shard is returned unchanged. An interrupted one resumes after its last whole sample. A
    second process waits for the first and then finds its shard. Before publication, samples are read
    back from disk and compared with what was written.

    Args:
        paths: Paths of the dataset.
        work: Inputs of the shard.
        observe: Called after every item, in the calling thread.

    Raises:
        TooManyRejectedError: If more items are rejected than allowed; nothing is published, and
            the next run starts again. The other items are tried first, without writing them, so
            that the error and the note beside the shard name all that has to be mended.
        ShardIntegrityError: If the disk returns other bytes than were written, an encoder returns a
            sample of another item, or samples of an existing tar would be lost; see
            `medassets.shards.replacement`.
        DiskSpaceError: If the disk is full; whole samples are kept for the next run.
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source does not respond.
    """
    shard = paths.shard(work.partition_key)
    shard.parent.mkdir(parents=True, exist_ok=True)
    with lock_file(lock_path(shard)):
        result = _ensure_locked(paths, work, observe)
        # The lock file survives a kill, so that an interrupted release is completed later.
        work.release(work.items)
    return result


def _ensure_locked(
    paths: DatasetPaths, work: ShardWork, observe: Callable[[SampleDone], None] | None
) -> ShardResult:
    shard = paths.shard(work.partition_key)
    finish_publication(paths, work.partition_key)
    record = read_whole_record(paths, work.partition_key, work.plan_fingerprint)
    if work.force or record is None:
        with explain_no_space(shard, lambda: missing_bytes(paths, work)):
            return _Maker(paths, work, observe).make()
    remove_leftovers(shard)
    return ShardResult(record, adopted=True)


def missing_bytes(paths: DatasetPaths, work: ShardWork) -> int:
    """Return the estimated number of bytes of a shard that remain to be written."""
    return max(work.expected_bytes - written_bytes(paths, work.partition_key), 0)


def _group_by_file(items: Sequence[SourceItem]) -> list[list[SourceItem]]:
    groups: list[list[SourceItem]] = []
    for _, group in itertools.groupby(items, key=lambda item: item.path):
        listed = list(group)
        groups += [
            listed[start : start + MOST_ITEMS_PER_CALL]
            for start in range(0, len(listed), MOST_ITEMS_PER_CALL)
        ]
    return groups


def _describe_rejected(item: SourceItem, error: SampleRejectedError) -> Rejected:
    return Rejected(item.key, str(error.reason), error.detail)


class _Maker:
    """Builds one shard while its lock is held."""

    def __init__(
        self, paths: DatasetPaths, work: ShardWork, observe: Callable[[SampleDone], None] | None
    ) -> None:
        self.paths, self.work, self.observe = paths, work, observe
        self.shard = paths.shard(work.partition_key)
        self.seconds: dict[str, float] = {}
        self.bad: list[Rejected] = []
        self.num_collected = 0
        self.workers = work.num_workers or os.cpu_count() or 1

    def make(self) -> ShardResult:
        start = time.perf_counter()
        require_ours(
            self.paths.record(self.work.partition_key),
            is_record_of(self.work.dataset, self.work.partition_key),
        )
        held = read_held(self.paths, self.work.partition_key)
        check_planned(self.shard, held.keys, [item.key for item in self.work.items])
        if self.work.force:
            remove_leftovers(self.shard)
        tar, ledger = partial_paths(self.shard)
        with PartialShard(tar, ledger, self.work.plan_fingerprint) as partial:
            resumed = len(partial.outcomes)
            failure_note(self.shard).unlink(missing_ok=True)
            with self._timed("resume"):
                self._check_rejected(partial)
            self._fill(partial)
            record = self._describe(partial)
        if self.work.keep_held:
            check_kept(self.shard, held.keys, record)
        check_same(self.shard, held, record)
        with self._timed("publish"):
            publish_shard(self.paths, tar, record, held)
        remove_leftovers(self.shard)
        wall = time.perf_counter() - start
        return ShardResult(
            record, adopted=False, resumed=resumed, seconds=self.seconds, wall_s=wall
        )

    def _fill(self, partial: PartialShard) -> None:
        todo = self.work.items[len(partial.outcomes) :]
        with self._timed("stage"):
            staged = {} if self.work.stage_each or not todo else self.work.stage(todo)

        def encode(group: list[SourceItem]) -> Sequence[Encoded]:
            try:
                files = staged or self.work.stage(group)
                file = files[group[0].key]
                if isinstance(file, SampleRejectedError):
                    # One file failed; each of its items gets a rejection.
                    answers = [files[item.key] for item in group]
                    return [one for one in answers if isinstance(one, SampleRejectedError)]
                return self.work.encode(group, file)
            except SampleRejectedError as error:
                return [error] * len(group)

        groups = _group_by_file(todo)
        results = iter_in_order(groups, encode, num_workers=self.workers)
        check = SyncCheck(partial.reader, partial.outcomes, num_checked=len(partial.outcomes))
        # Always closed, so that no thread continues after a failure.
        with check, closing(results):
            for group, encoded in zip(groups, results, strict=True):
                self._take_group(partial, group, encoded)
                if not self.bad:
                    check.follow()
            if self.bad:
                self._fail(partial)
            with self._timed("publish"):
                partial.add_end()
            with self._timed("verify"):
                self._check_read_back(partial, check.finish())

    def _take_group(
        self, partial: PartialShard, group: list[SourceItem], encoded: Sequence[Encoded]
    ) -> None:
        if len(encoded) != len(group):
            msg = f"{group[0].key}: its encoder returned {len(encoded)} of {len(group)} samples"
            raise ShardIntegrityError(msg)
        for item, result in zip(group, encoded, strict=True):
            if self.bad:
                self._collect(item, result)
            else:
                self._take(partial, item, result)
            self._tell(partial, item)
            if self._has_enough(result):
                self._fail(partial)

    def _take(self, partial: PartialShard, item: SourceItem, result: Encoded) -> None:
        if isinstance(result, SampleRejectedError):
            partial.add_rejected(_describe_rejected(item, result))
            self._check_rejected(partial)
            return
        if result.key != item.key:
            msg = f"{item.key}: its encoder returned sample {result.key!r}"
            raise ShardIntegrityError(msg)
        with self._timed("write"):
            partial.add_sample(result.key, result.members, result.facts)
        result.release()
        for stage, seconds in result.seconds.items():
            self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds

    def _check_rejected(self, partial: PartialShard) -> None:
        """Begin to only collect rejected items when there are more than allowed."""
        if partial.num_rejected > self.work.max_rejected_share * len(self.work.items):
            # Nothing of it is kept from here on: a run that is killed now starts again.
            partial.remove()
            self.bad = list(partial.rejected)

    def _collect(self, item: SourceItem, result: Encoded) -> None:
        """Look at one more item of a shard that fails: only whether it was rejected counts."""
        self.num_collected += 1
        if isinstance(result, SampleRejectedError):
            self.bad.append(_describe_rejected(item, result))
        else:
            result.release()

    def _has_enough(self, result: Encoded) -> bool:
        """Tell whether a shard that fails need not try more of its items.

        A decoder that hangs would hang again: each such item takes minutes.
        """
        if not self.bad or not isinstance(result, SampleRejectedError):
            return False
        return len(self.bad) >= _MOST_COLLECTED or result.reason in TRANSIENT_REASONS

    def _tell(self, partial: PartialShard, item: SourceItem) -> None:
        if self.observe is not None:
            self.observe(
                SampleDone(
                    partition_key=self.work.partition_key,
                    key=item.key,
                    done=len(partial.outcomes) + self.num_collected,
                    total=len(self.work.items),
                    rejected=len(self.bad) or partial.num_rejected,
                    size_bytes=partial.size_bytes,
                )
            )

    def _fail(self, partial: PartialShard) -> None:
        """Note and name what was rejected.

        Raises:
            TooManyRejectedError: Always.
        """
        num_tried = len(partial.outcomes) + self.num_collected
        FailureNote(self.work.plan_fingerprint, num_tried, tuple(self.bad)).write(self.shard)
        counts = Counter(r.reason for r in self.bad)
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(counts.items()))
        first = "; ".join(f"{r.key}: {r.reason}: {r.detail}" for r in self.bad[:_NAMED_REJECTIONS])
        num_items = len(self.work.items)
        # Those that were not tried may be rejected as well.
        share = (len(self.bad) + num_items - num_tried) / num_items
        msg = (
            f"{self.work.partition_key}: {len(self.bad)} of the first {num_tried} of "
            f"{num_items} samples were rejected ({reasons}), more than "
            f"max_rejected_share = {self.work.max_rejected_share} allows; nothing was published. "
            f"Correct the files, or do without them: "
            f"`{self.paths.allow_command('max_rejected_share', share)}`. First: {first}"
        )
        raise TooManyRejectedError(msg)

    def _check_read_back(self, partial: PartialShard, damaged: list[str]) -> None:
        if damaged or partial.reader.size_bytes != partial.size_bytes:
            partial.remove()
            msg = (
                f"{self.shard}: samples read back from disk differ from those written "
                f"{damaged[:_NAMED_REJECTIONS]}; nothing was published. Check the disk, then build "
                f"again"
            )
            raise ShardIntegrityError(msg)

    def _describe(self, partial: PartialShard) -> ShardRecord:
        work = self.work
        samples, rejected = partial.samples, partial.rejected
        digest = partial.sha256.hexdigest()
        return ShardRecord(
            dataset=work.dataset,
            split=split_partition_key(work.partition_key)[0],
            partition=work.partition_key,
            filename=self.shard.name,
            num_samples=len(samples),
            size_bytes=partial.size_bytes,
            sha256=digest,
            plan_fingerprint=work.plan_fingerprint,
            fingerprint=content_fingerprint(digest, rejected),
            source=dict(work.source),
            kind=str(work.kind),
            samples=samples,
            rejected=rejected,
            made_from=work.made_from.as_dict() if work.made_from else {},
            plan=work.plan.as_dict() if work.plan else {},
        )

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - start
            self.seconds[stage] = self.seconds.get(stage, 0.0) + passed

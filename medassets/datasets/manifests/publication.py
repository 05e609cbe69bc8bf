"""Manifests of a dataset's splits, from the records of its shards; none loses samples silently."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from medassets.datasets.accounts import Books, open_books
from medassets.datasets.manifests.listing import Listing, list_shards
from medassets.datasets.staleness.reasons import Today
from medassets.datasets.survey import Survey, require_one_orientation, survey_records
from medassets.datasets.workspace import Workspace
from medassets.errors import TRANSIENT_REASONS
from medassets.shards.account import Account, Left
from medassets.shards.files import previous_record, read_whole_record
from medassets.shards.manifest import Manifest, build_manifest, list_shard_keys, read_published
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.shards.record import ShardRecord
from medassets.storage.paths import format_partition_key, split_partition_key

_MOST_NAMES = 3
# Two renames, each with a flush of the disk. What a killed run left takes as long once.
_PUBLICATION_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Publication:
    """What a refresh of the manifests does, split by split.

    Attributes:
        manifests: Manifests to write.
        waiting: Split -> why its published manifest stays: shards by the new settings do not fit the
            older ones, and not all are made yet.
        refused: Split -> why its published manifest stays: it lists samples that would be lost.
        published: Manifests on disk of the splits that stay.
        splits: All splits, as declared.
        repeated: Shards that no manifest lists, because another one has a sample of theirs, a line each.
    """

    manifests: Mapping[str, Manifest]
    waiting: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    published: Mapping[str, Manifest] = field(default_factory=dict)
    splits: tuple[str, ...] = ()
    repeated: tuple[str, ...] = ()

    @property
    def everything(self) -> dict[str, Manifest]:
        """The manifest of every split after the refresh."""
        found = {**self.published, **self.manifests}
        return {split: found[split] for split in self.splits}

    def lines(self) -> list[str]:
        """Return why manifests stay as they are, one line for each reason."""
        splits: dict[str, list[str]] = {}
        for split, reason in (*self.refused.items(), *self.waiting.items()):
            splits.setdefault(reason, []).append(split)
        return [f"{', '.join(names)}: {reason}" for reason, names in splits.items()]


def build_manifests(workspace: Workspace) -> dict[str, Manifest]:
    """Return the manifest of every split as the shards on disk say, and what is missing.

    For every partition, it lists today's shard if it is whole, else the older one if its samples
    mean the same; see `list_shards`.

    Raises:
        CatalogError: If there is no catalog yet.
        MixedOrientationError: If the samples do not fit together; see `survey_dataset`.
    """
    books = open_books(workspace)
    return _build_all(workspace, books, list_shards(Today(workspace, books.plan), books))


def plan_publication(
    workspace: Workspace, books: Books | None = None, *, allow_shrink: bool = False
) -> Publication:
    """Return which manifests to write, and which stay because samples would be lost.

    Args:
        workspace: The dataset and stage.
        books: What was read of the disk; None reads it.
        allow_shrink: Write them although they list less than those on disk.

    Raises:
        CatalogError: If there is no catalog yet.
        MixedOrientationError: If the samples do not fit together; see `survey_dataset`.
    """
    books = books or open_books(workspace)
    listing = list_shards(Today(workspace, books.plan), books)
    manifests = _build_all(workspace, books, listing)
    found = {split: read_published(workspace.paths, split) for split in manifests}
    published = {split: one for split, one in found.items() if one is not None}
    lost = {split: _find_lost(published[split], manifests[split]) for split in published}
    shrunk = {split: keys for split, keys in lost.items() if keys}
    if allow_shrink or not shrunk:
        return Publication(manifests, splits=tuple(manifests), repeated=_tell_repeated(listing))
    if _wait_for_publications(workspace, books):
        return plan_publication(workspace)
    waiting = _find_waiting(workspace, books, listing, published, shrunk)
    refused = {
        split: _refuse(workspace, books, split, published[split], keys)
        for split, keys in shrunk.items()
        if split not in waiting
    }
    stays = waiting.keys() | refused.keys()
    return Publication(
        {split: one for split, one in manifests.items() if split not in stays},
        waiting=waiting,
        refused=refused,
        published={split: published[split] for split in manifests if split in stays},
        splits=tuple(manifests),
        repeated=_tell_repeated(listing),
    )


def survey_dataset(workspace: Workspace, books: Books | None = None) -> Survey:
    """Compare the samples of all shards that are on disk whole and made from today's inputs.

    Args:
        workspace: The dataset and stage.
        books: What was read of the disk; None reads it.

    Raises:
        CatalogError: If there is no catalog yet.
    """
    return survey_records(workspace.kind, (books or open_books(workspace)).records())


def describe_catalog(workspace: Workspace, table: pa.Table) -> dict[str, Any]:
    """Return what users should know of a catalog beyond its counts, and of the samples built so far.

    Args:
        workspace: The dataset.
        table: The catalog, which may not be published yet.
    """
    built = survey_dataset(workspace).facts if workspace.paths.catalog.exists() else {}
    known = {"built": {"orientations": built["orientations"]}} if "orientations" in built else {}
    return {**workspace.kind.describe_catalog(table), **known}


def list_keys(manifests: Mapping[str, Manifest]) -> dict[str, list[str]]:
    """Return the sample keys of every split, in the order of the shards."""
    return {
        split: [key for shard in manifest["shards"] for key in shard["keys"]]
        for split, manifest in manifests.items()
    }


def _build_all(workspace: Workspace, books: Books, listing: Listing) -> dict[str, Manifest]:
    survey = survey_records(workspace.kind, listing.records())
    require_one_orientation(survey)
    accounts = books.draw()
    return {
        split: _build(workspace, books, listing, split, accounts[split], survey)
        for split in workspace.kind.spec.splits
    }


def _build(
    workspace: Workspace,
    books: Books,
    listing: Listing,
    split: str,
    account: Account,
    survey: Survey,
) -> Manifest:
    records = listing.records(split)
    outliers = survey.list_outliers(records)
    return build_manifest(
        split,
        records,
        dataset=workspace.kind.spec.name,
        kind=workspace.kind.SAMPLES,
        sample_fields={
            **workspace.kind.manifest_fields(records),
            **({"hu_outliers": outliers} if outliers else {}),
        },
        source=_source(workspace, records),
        account=account,
        planned=books.plan.splits().get(split, []),
        num_held=books.plan.num_held,
        samples_per_shard=books.plan.samples_per_shard,
        describe_shard=workspace.kind.describe_shard,
        stale={
            key: why.lines()
            for key, why in listing.stale.items()
            if split_partition_key(key)[0] == split
        },
        meaning=listing.meaning,
    )


def _source(workspace: Workspace, records: list[ShardRecord]) -> Mapping[str, object]:
    # Shards that were planned later may have a later revision.
    revisions = list(dict.fromkeys(record.source["revision"] for record in records))
    latest = revisions[-1] if revisions else None
    more = {"revisions": revisions} if len(revisions) > 1 else {}
    uri = workspace.source.uri
    return {"repo": workspace.source.repo, "uri": uri, "revision": latest, **more}


def _tell_repeated(listing: Listing) -> tuple[str, ...]:
    return tuple(
        f"{partition}: another shard has its sample {key} as well, so that no manifest lists this "
        f"one until it is made again"
        for partition, key in listing.repeated.items()
    )


def _wait_for_publications(workspace: Workspace, books: Books) -> bool:
    """Wait for shards that another process is publishing; return whether one of them is whole now.

    While a tar is replaced, its shard has no record for a moment, as a lost one.
    """
    paths, deadline = workspace.paths, time.monotonic() + _PUBLICATION_S
    lost = [key for key, found in books.shards.items() if found.left is Left.LOST]
    running = [key for key in lost if previous_record(paths.shard(key)).exists()]
    while running and time.monotonic() < deadline:
        if any(read_whole_record(paths, key) is not None for key in running):
            return True
        time.sleep(_POLL_S)
    return False


def _find_lost(published: Manifest, new: Manifest) -> dict[str, str]:
    """Return the samples that only the published manifest lists, with the file name of their shard."""
    kept = {key for keys in list_shard_keys(new).values() for key in keys}
    return {
        key: filename
        for filename, keys in list_shard_keys(published).items()
        for key in keys
        if key not in kept
    }


def _find_waiting(
    workspace: Workspace,
    books: Books,
    listing: Listing,
    published: Mapping[str, Manifest],
    shrunk: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    """Return the splits that wait until all shards are made by the new settings.

    If one waits, the others that were published by the old settings wait with it, so that training
    and validation have samples of the same settings.
    """
    filenames = {
        (split_partition_key(key)[0], workspace.paths.shard(key).name) for key in listing.unlike
    }
    first = {
        split
        for split, lost in shrunk.items()
        if any((split, filename) in filenames for filename in lost.values())
    }
    if not first:
        return {}
    is_old = {
        split for split, one in published.items() if one.get("sample_meaning") != listing.meaning
    }
    count, total = len(books.records()), len(books.plan.partitions)
    name = workspace.kind.spec.name
    reason = next(iter(listing.unlike.values())).lines()[0]
    text = (
        f"{count:,} of {total:,} shards are made by the new settings, whose samples do not fit the "
        f"older ones ({reason}); the manifest lists the old ones until all are, and loaders refuse those "
        f"that were made again. "
        f"`{workspace.paths.build_command}` makes the others; to train on the old ones meanwhile, "
        f"declare the new settings under another name than {name}; `--allow-shrink` lists the new ones now"
    )
    return dict.fromkeys((split for split in published if split in first | is_old), text)


def _refuse(
    workspace: Workspace,
    books: Books,
    split: str,
    published: Manifest,
    lost: Mapping[str, str],
) -> str:
    rejected = {r.key: r.reason for record in books.records(split) for r in record.rejected}
    reasons = Counter(
        rejected.get(key) or _explain_lost(books, split, filename) for key, filename in lost.items()
    )
    why = ", ".join(f"{reason} {count:,}" for reason, count in sorted(reasons.items()))
    some = ", ".join(list(lost)[:_MOST_NAMES]) + (" ..." if len(lost) > _MOST_NAMES else "")
    total = sum(len(keys) for keys in list_shard_keys(published).values())
    shards = {_partition_of(split, name) for key, name in lost.items() if key not in rejected}
    remedies = [
        *_list_remedies(workspace, books, shards, set(reasons)),
        "to train without these samples, `--allow-shrink` publishes the manifest",
    ]
    return (
        f"the manifest lists {total:,} samples, {len(lost):,} of which no listed shard would "
        f"have ({some}; {why}), so it stays as it is; {'; '.join(remedies)}"
    )


def _list_remedies(
    workspace: Workspace, books: Books, shards: Iterable[str], reasons: Collection[str]
) -> Iterator[str]:
    """Yield what brings lost samples back: of these shards, or rejected for these reasons."""
    left = [key for key in shards if key in books.shards and books.shards[key].record is None]
    journal = workspace.paths.reclaim_journal
    # No build makes a shard whose sources were deleted.
    if any(ReclaimJournal.read(journal(key)).is_empty for key in left):
        yield f"`{workspace.paths.build_command}` makes lost shards again"
    if TRANSIENT_REASONS.intersection(reasons):
        yield f"`medassets retry {workspace.kind.spec.name}` tries rejected samples again"


def _explain_lost(books: Books, split: str, filename: str) -> str:
    """Return the state of the shard that held a lost sample, as `status` names it."""
    key = _partition_of(split, filename)
    found = books.shards.get(key)
    if found is None or found.record is not None:
        return "no longer planned"
    return f"{key} is {found.left}"


def _partition_of(split: str, filename: str) -> str:
    """Return the partition key of a shard that a manifest names; empty for another file."""
    number = filename.removeprefix("shard-").removesuffix(".tar")
    return format_partition_key(split, int(number)) if number.isdecimal() else ""

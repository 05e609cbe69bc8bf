"""Index of the members of all samples, kept in a few numpy arrays."""

import itertools
import stat
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import IncompleteManifestError, ShardIntegrityError
from medassets.shards.files import find_record
from medassets.shards.made_from import explain_unlike
from medassets.shards.record import RECORD_VERSION
from medassets.storage.checksums import crc32, parse_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.later_versions import refuse_later
from medassets.storage.unreadable import read_regular
from medassets.tars.lists import FoundShard, Source, find_shards
from medassets.tars.reader import Member, Members
from medassets.tars.scan import scan_tar

_MAX_THREADS = 8
# The warning is shown at the line that opens the dataset: it calls a class here, which calls a
# reader, which calls the index.
_CALLER = 5
_COPY_AGAIN = "copy it again from where it was made"


@dataclass(frozen=True)
class IndexedSample:
    """One sample and its position.

    Attributes:
        number: Its number in the index.
        key: Sample key.
        shard: Number of its shard.
        members: By suffix, in the order of the tar.
        first_member: Number of its first member among all members of the index.
    """

    number: int
    key: str
    shard: int
    members: Members
    first_member: int

    def number_of(self, suffix: str) -> int:
        """Return the number of one of its members among all members of the index."""
        return self.first_member + list(self.members).index(suffix)


@dataclass
class _Part:
    """The entries of one shard."""

    size_bytes: int
    keys: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    suffixes: list[str] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    crcs: list[int] | None = None
    partition: str = ""
    dataset: str = ""
    kind: str = ""
    meaning: str = ""
    sha256: str = ""


class ShardIndex:
    """Samples of shards by number; immutable, small and cheap to pickle.

    Offsets come from the records beside the shards, or from the headers of tars without records.

    Args:
        source: A manifest, a folder, patterns or a list of tars.
        require_complete: Refuse a manifest that lacks samples of its plan. Otherwise, one warning
            says what it lacks.

    Attributes:
        source: The requested source, as text.
        paths: The tars, in order.
        size_bytes: Sizes of the tars.
        shard_ends: int64 (num_shards,), number of samples up to the end of each shard.
        kinds: What the samples of each shard are, as record or manifest say; empty if neither does.
        suffixes: All suffixes of members.

    Raises:
        ShardIntegrityError: If a shard is missing, cut off, or differs from record or manifest, if
            shards of one dataset were made by settings that do not fit together, or
            if there are no samples; the message names the shard and the remedy.
        IncompleteManifestError: If the manifest must be complete, and is not.
    """

    def __init__(self, source: Source, *, require_complete: bool = False) -> None:
        self.source = str(source)
        found = find_shards(source)
        _say_lacks(found, require_complete=require_complete)
        with ThreadPoolExecutor(min(_MAX_THREADS, len(found))) as threads:
            parts = list(threads.map(_read_part, found))
        _check_alike(found, parts)
        self.paths = tuple(str(shard.path) for shard in found)
        self.size_bytes = tuple(part.size_bytes for part in parts)
        self.kinds = tuple(
            part.kind or shard.kind for part, shard in zip(parts, found, strict=True)
        )
        self._origins = tuple((part.dataset, part.partition) for part in parts)
        self.shard_ends = np.cumsum([len(part.keys) for part in parts], dtype=np.int64)
        self._take_keys(parts)
        self._take_members(parts)
        if not len(self):
            msg = f"{self.source}: {len(found)} shards contain no sample"
            raise ShardIntegrityError(msg)

    def _take_keys(self, parts: Sequence[_Part]) -> None:
        keys = [key.encode() for part in parts for key in part.keys]
        self._keys = b"".join(keys)
        self._key_ends = np.cumsum([len(key) for key in keys], dtype=np.int64)

    def _take_members(self, parts: Sequence[_Part]) -> None:
        chain = itertools.chain.from_iterable
        self._ends = np.cumsum([n for part in parts for n in part.counts], dtype=np.int64)
        numbers = {
            suffix: n for n, suffix in enumerate(sorted(set(chain(p.suffixes for p in parts))))
        }
        self.suffixes = tuple(numbers)
        self._suffix = np.array([numbers[s] for part in parts for s in part.suffixes], np.int32)
        self._offset = np.array(list(chain(part.offsets for part in parts)), np.int64)
        self._size = np.array(list(chain(part.sizes for part in parts)), np.int64)
        crcs = (part.crcs or [-1] * len(part.sizes) for part in parts)
        self._crc = np.array(list(chain(crcs)), np.int64)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._ends)

    @property
    def num_members(self) -> int:
        """Number of members of all samples."""
        return len(self._size)

    @property
    def digest(self) -> int:
        """CRC-32 of keys and shard sizes: equal for copies of the same samples."""
        return crc32(self._keys, crc32(self.shard_ends))

    def key(self, number: int) -> str:
        """Return the key of one sample."""
        start = self._key_ends[number - 1] if number else 0
        return self._keys[start : self._key_ends[number]].decode()

    def locate(self, index: int) -> IndexedSample:
        """Return one sample.

        Args:
            index: Index of the sample; a negative one counts from the end.

        Raises:
            IndexError: If the index is out of range.
        """
        number = int(index) + len(self) if index < 0 else int(index)
        if not 0 <= number < len(self):
            msg = f"{self.source}: sample {index} of {len(self)}"
            raise IndexError(msg)
        start = int(self._ends[number - 1]) if number else 0
        found = map(self._member, range(start, int(self._ends[number])))
        members = {member.suffix: member for member in found}
        shard = int(np.searchsorted(self.shard_ends, number, side="right"))
        return IndexedSample(number, self.key(number), shard, members, start)

    def _member(self, number: int) -> Member:
        crc = int(self._crc[number])
        return Member(
            self.suffixes[self._suffix[number]],
            int(self._offset[number]),
            int(self._size[number]),
            None if crc < 0 else crc,
        )

    def require(self, *alternatives: Iterable[str]) -> None:
        """Check that every sample has one member of each group.

        Raises:
            ShardIntegrityError: If a sample has none; the message names shard, sample and the expected members.
        """
        starts = np.concatenate([[0], self._ends[:-1]])
        for group in map(tuple, alternatives):
            wanted = [n for n, suffix in enumerate(self.suffixes) if suffix in group]
            there = np.add.reduceat(np.isin(self._suffix, wanted), starts, dtype=np.int64)
            if not there.all():
                sample = self.locate(int(np.argmin(there)))
                names = " or ".join(f".{suffix}" for suffix in group)
                what = f"has no member {names}, only {', '.join(sample.members)}"
                raise self.damage(sample, what)

    def largest(self, suffixes: Iterable[str]) -> int:
        """Return the size of the largest member with one of some suffixes, in bytes."""
        wanted = [n for n, suffix in enumerate(self.suffixes) if suffix in set(suffixes)]
        return int(self._size[np.isin(self._suffix, wanted)].max(initial=0))

    def damage(self, sample: IndexedSample, what: str) -> ShardIntegrityError:
        """Return the error for one damaged sample, with the remedy."""
        dataset, partition = self._origins[sample.shard]
        remedy = _remedy(dataset, partition) if partition else _COPY_AGAIN
        return ShardIntegrityError(f"{self.paths[sample.shard]}: {sample.key}: {what}; {remedy}")


def _say_lacks(found: Sequence[FoundShard], *, require_complete: bool) -> None:
    """Warn once of what manifests lack, or refuse them.

    Raises:
        IncompleteManifestError: If they must be complete.
    """
    lacks = list(dict.fromkeys(shard.lacks for shard in found if shard.lacks))
    if lacks and require_complete:
        raise IncompleteManifestError("; ".join(lacks))
    if lacks:
        warnings.warn("; ".join(lacks), UserWarning, stacklevel=_CALLER)


def _check_alike(found: Sequence[FoundShard], parts: Sequence[_Part]) -> None:
    """Refuse shards of one dataset whose samples do not mean the same.

    Raises:
        ShardIntegrityError: Naming one shard of each sort.
    """
    for dataset in dict.fromkeys(part.dataset for part in parts):
        shards = (
            (str(shard.path), part.meaning)
            for shard, part in zip(found, parts, strict=True)
            if part.dataset == dataset
        )
        if unlike := explain_unlike(dataset, shards):
            raise ShardIntegrityError(unlike)


def _remedy(dataset: str, partition: str) -> str:
    return (
        f"`medassets verify {dataset}` finds all damage, `medassets build {dataset} "
        f"--partitions {partition} --force` makes the shard again"
    )


def _read_part(shard: FoundShard) -> _Part:
    try:
        status = shard.path.stat()
        if not stat.S_ISREG(status.st_mode):
            msg = f"{shard.path}: is a folder or a device; expected a tar, or the folder that contains it"
            raise ShardIntegrityError(msg)
        size = status.st_size
        record = find_record(shard.path)
        part = _read_record(record, size) if record is not None else _scan(shard.path, size)
    except OSError as error:
        what = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        how = "copy it there, or build it with `medassets build DATASET --missing`"
        msg = f"{shard.path}: the shard {what}; {how}"
        raise ShardIntegrityError(msg) from error
    remedy = _remedy(part.dataset, part.partition) if part.partition else _COPY_AGAIN
    if part.sha256 and shard.sha256 not in ("", part.sha256):
        _check_made_again(shard, part)
        # What the manifest says of its size is about the shard that was there before.
        shard = FoundShard(shard.path)
    for what, said, found in (
        ("bytes", part.size_bytes, size),
        ("bytes", shard.size_bytes, size),
        ("samples", shard.num_samples, len(part.keys)),
    ):
        if said is not None and said != found:
            listed = f"the shard has {found:,} {what}, its record or manifest says {said:,}"
            msg = f"{shard.path}: {listed}; {remedy}"
            raise ShardIntegrityError(msg)
    return part


def _check_made_again(shard: FoundShard, part: _Part) -> None:
    """Accept a shard that was made again since its manifest was written if it takes its place.

    Raises:
        ShardIntegrityError: If its samples do not fit those of the manifest, or are fewer.
    """
    name = part.dataset
    if not shard.meaning or shard.meaning != part.meaning:
        msg = (
            f"{shard.path}: was made again since the manifest was written, by other settings; its "
            f"samples do not fit the others. `medassets build {name}` makes all shards by them, and "
            f"then the manifest"
        )
        raise ShardIntegrityError(msg)
    if len(part.keys) < (shard.num_samples or 0):
        msg = (
            f"{shard.path}: was made again since the manifest was written, with {len(part.keys):,} of "
            f"{shard.num_samples:,} samples; `medassets build {name}` says which are lost and why"
        )
        raise ShardIntegrityError(msg)


def _read_record(path: Path, size: int) -> _Part:
    """Read the entries of a record; parsing it into its dataclasses takes four times as long."""
    try:
        document = parse_json(read_regular(path))
        # Fields that are new and change nothing for readers leave the version as it is.
        refuse_later(path, "record_version", document.get("record_version"), RECORD_VERSION)
        part = _Part(document["size_bytes"], crcs=[])
        part.dataset, part.partition = document["dataset"], document["partition"]
        part.kind, part.sha256 = document.get("kind", ""), document.get("sha256", "")
        part.meaning = (document.get("made_from") or {}).get("meaning", "")
        _take_samples(part, document["samples"])
        # Wrong types must fail here and not in the middle of an epoch.
        "".join([*part.keys, *part.suffixes, *_list_texts(part)]).encode()
        np.array([part.size_bytes, *(part.crcs or ())], np.int64)
        if type(part.size_bytes) is not int:
            msg = "size_bytes is not an integer"
            raise TypeError(msg)
        ends = np.array(part.offsets, np.int64) + np.array(part.sizes, np.int64)
        if min(part.offsets, default=0) < 0 or min(part.sizes, default=0) < 0:
            msg = "a negative offset"
            raise ValueError(msg)
        if size == part.size_bytes and ends.max(initial=0) > size:
            msg = "a member after the end of the shard"
            raise ValueError(msg)
    except MALFORMED as error:
        msg = (
            f"{path}: not a shard record ({error}); build the shard again, or remove this file "
            "if the tar was not made by medassets"
        )
        raise ShardIntegrityError(msg) from error
    return part


def _list_texts(part: _Part) -> tuple[str, ...]:
    return part.dataset, part.partition, part.kind, part.meaning, part.sha256


def _take_samples(part: _Part, samples: list[dict[str, Any]]) -> None:
    crcs: list[int] = []
    for sample in samples:
        part.keys.append(sample["key"])
        members = sample["members"]
        part.counts.append(len(members))
        for member in members:
            part.suffixes.append(member["suffix"])
            part.offsets.append(member["offset"])
            part.sizes.append(member["size_bytes"])
            crcs.append(member["crc32"])
    part.crcs = crcs


def _scan(path: Path, size: int) -> _Part:
    part = _Part(size)
    for key, members in scan_tar(path).items():
        part.keys.append(key)
        part.counts.append(len(members))
        for member in members.values():
            part.suffixes.append(member.suffix)
            part.offsets.append(member.offset)
            part.sizes.append(member.size_bytes)
    return part

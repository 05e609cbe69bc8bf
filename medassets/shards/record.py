"""The record of one shard: its samples, its rejected items, and how to verify both."""

import hashlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.made_from import MadeFrom, read_made_from
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import fingerprint, parse_json
from medassets.storage.foreign_bytes import MALFORMED
from medassets.storage.later_versions import refuse_later, refuse_unknown, take_fields
from medassets.storage.ownership import IsOurs, content_says
from medassets.storage.unreadable import read_regular
from medassets.tars.reader import Member

RECORD_VERSION = 1
_VERSION = "record_version"

_CHECKSUM = re.compile(rb',\n "checksum": "([0-9a-f]{64})"\n}\n\Z')
"""Last line of a record: SHA-256 of everything before it."""


@dataclass(frozen=True, slots=True)
class SampleEntry:
    """One sample of a shard.

    Attributes:
        key: Sample key.
        offset: Position of its first tar header in the shard, in bytes.
        size_bytes: Headers, contents and padding together.
        members: Its members in order.
        facts: What the processing recorded about it.
    """

    key: str
    offset: int
    size_bytes: int
    members: tuple[Member, ...]
    facts: Mapping[str, Any] = field(default_factory=dict, compare=False)


@dataclass(frozen=True)
class Rejected:
    """One source item that was rejected.

    Attributes:
        key: Its sample key.
        reason: Reason code; see `Reason`.
        detail: One sentence for a person.
    """

    key: str
    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class ShardRecord:
    """The JSON beside a shard; deterministic, without times or machine paths.

    Attributes:
        dataset: Dataset name.
        split: Split.
        partition: Partition key.
        filename: Name of the tar in the record's folder.
        num_samples: Samples in the tar.
        size_bytes: Size of the tar.
        sha256: Digest of the tar.
        plan_fingerprint: Hash of the catalog rows and the declaration; known before the build.
        fingerprint: Hash of `sha256` and of the rejected keys with their reasons. The plan is not part
            of it: a plan contains sizes and mtimes of files, which differ between machines that
            build the same bytes.
        source: `uri` and `revision` of the source.
        kind: What its samples are; empty in records of earlier versions.
        samples: In the order of the tar.
        rejected: In the order of the plan.
        made_from: The facts behind `plan_fingerprint`; empty in records of earlier versions. See
            `medassets.shards.made_from`.
        adopted: What it was made from where `medassets adopt` found that today's inputs and settings
            make the same samples; empty otherwise.
        plan: Its part of the plan; empty in records of earlier versions. See
            `medassets.shards.plan_copy`.
    """

    dataset: str
    split: str
    partition: str
    filename: str
    num_samples: int
    size_bytes: int
    sha256: str
    plan_fingerprint: str
    fingerprint: str
    source: Mapping[str, Any]
    samples: tuple[SampleEntry, ...] = field(repr=False)
    rejected: tuple[Rejected, ...]
    kind: str = ""
    record_version: int = RECORD_VERSION
    made_from: Mapping[str, Any] = field(default_factory=dict, repr=False)
    adopted: Mapping[str, Any] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def facts(self) -> MadeFrom | None:
        """What it was made from; None if the record does not say."""
        return read_made_from(self.made_from)

    def rejected_by_reason(self) -> dict[str, int]:
        """Return the number of rejected items by reason."""
        return dict(sorted(Counter(item.reason for item in self.rejected).items()))

    def encode(self) -> bytes:
        """Return the record as JSON with one line per sample, which people can read and diff."""
        document = asdict(self)
        # Records without these are written as before there were any.
        for name in ("made_from", "adopted", "plan"):
            if not document[name]:
                del document[name]
        lists = {name: document.pop(name) for name in ("samples", "rejected")}
        head = json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True)[:-2]
        for name, entries in lists.items():
            lines = ",\n  ".join(json.dumps(e, ensure_ascii=False, sort_keys=True) for e in entries)
            head += f',\n "{name}": [\n  {lines}\n ]' if entries else f',\n "{name}": []'
        content = head.encode()
        digest = hashlib.sha256(content).hexdigest()
        return content + f',\n "checksum": "{digest}"\n}}\n'.encode()

    def find_contradictions(self) -> Iterator[str]:
        """Yield what the record says in two places in two ways; nothing for one that we wrote."""
        if self.num_samples != len(self.samples):
            yield f"its record counts {self.num_samples} samples and lists {len(self.samples)}"
        keys = [entry.key for entry in (*self.samples, *self.rejected)]
        yield from (
            f"{key} is in its record {n} times" for key, n in Counter(keys).items() if n > 1
        )
        if self.fingerprint != content_fingerprint(self.sha256, self.rejected):
            yield "its record's fingerprint is not that of its sha256 and rejected items"

    def write(self, path: Path) -> None:
        """Publish the record atomically."""
        publish_bytes(path, self.encode(), is_ours=is_record_of(self.dataset, self.partition))

    @classmethod
    def read(cls, path: Path) -> "ShardRecord":
        """Read a record.

        Raises:
            FileNotFoundError: If it does not exist.
            ShardIntegrityError: If the file is not a record, or cannot be read.
            LaterVersionError: If a later version wrote it.
        """
        content = b""
        try:
            content = read_regular(path)
            document = parse_json(content)
            refuse_later(path, _VERSION, document.get(_VERSION), RECORD_VERSION)
            document.pop("checksum", None)
            samples = tuple(_read_sample(entry) for entry in document.pop("samples"))
            rejected = tuple(Rejected(**entry) for entry in document.pop("rejected"))
            return cls(samples=samples, rejected=rejected, **document)
        except MALFORMED as error:
            _refuse_later_fields(path, content)
            msg = f"{path}: not a shard record ({error}); move it away and build the shard again"
            raise ShardIntegrityError(msg) from error
        except FileNotFoundError:
            raise
        except OSError as error:
            msg = f"{path}: the record cannot be read ({error.strerror})"
            raise ShardIntegrityError(msg) from error


def content_fingerprint(sha256: str, rejected: Sequence[Rejected]) -> str:
    """Return the hash of a shard's bytes and rejected items; see `ShardRecord.fingerprint`.

    Args:
        sha256: Digest of the tar.
        rejected: Its rejected items, in the order of the plan.
    """
    return fingerprint({"sha256": sha256, "rejected": [[r.key, r.reason] for r in rejected]})


def is_as_written(content: bytes) -> bool:
    """Tell whether the bytes of a record are those that were published.

    Records of earlier versions have no checksum; nothing is known against them.
    """
    found = _CHECKSUM.search(content)
    return not found or hashlib.sha256(content[: found.start()]).hexdigest().encode() == found[1]


def is_record_of(dataset: str, partition: str) -> IsOurs:
    """Return the evidence that a file is a record of a shard, perhaps a damaged one.

    Args:
        dataset: Dataset name.
        partition: Partition key of the shard.
    """
    # The first field that `encode` writes.
    head = f'{{\n "dataset": {json.dumps(dataset, ensure_ascii=False)},\n'.encode()

    def is_ours(content: bytes) -> bool:
        try:
            document = parse_json(content)
        except ValueError:
            return content.startswith(head)
        names = ("dataset", "partition")
        return isinstance(document, dict) and (
            tuple(document.get(name) for name in names) == (dataset, partition)
        )

    return content_says(is_ours)


def require_known_head(path: Path, head: Mapping[str, Any]) -> None:
    """Refuse a record whose fields, without its lists, tell of a later version.

    Raises:
        LaterVersionError: The message names version or fields.
    """
    refuse_later(path, _VERSION, head.get(_VERSION), RECORD_VERSION)
    refuse_unknown(path, head, [*(f.name for f in fields(ShardRecord)), "checksum"])


def _refuse_later_fields(path: Path, content: bytes) -> None:
    """Refuse fields of a later version, in bytes that are as they were published.

    Raises:
        LaterVersionError: If there are such fields.
    """
    if not is_as_written(content):
        return
    with suppress(*MALFORMED):
        document = parse_json(content)
        require_known_head(path, document)
        for sample in document["samples"]:
            take_fields(SampleEntry, sample, path)
            for member in sample["members"]:
                take_fields(Member, member, path)
        for rejected in document["rejected"]:
            take_fields(Rejected, rejected, path)


def _read_sample(entry: dict[str, Any]) -> SampleEntry:
    members = tuple(_read_member(**member) for member in entry.pop("members"))
    return SampleEntry(members=members, **entry)


def _read_member(suffix: str, offset: int, size_bytes: int, crc32: int) -> Member:
    """Return a member; a record always gives its CRC-32."""
    # A million samples share the few suffixes there are.
    return Member(sys.intern(suffix), offset, size_bytes, crc32)

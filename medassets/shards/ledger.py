"""Journal of an unfinished shard: a killed run resumes after its last whole sample."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.arrays import BytesLike
from medassets.errors import JournalHeaderError
from medassets.shards.readback import find_damage
from medassets.shards.record import Rejected, SampleEntry
from medassets.storage.atomic import write_all
from medassets.storage.checksums import byte_view, canonical_json, crc32
from medassets.storage.journal import Journal
from medassets.storage.later_versions import refuse_unknown, take_fields
from medassets.storage.unreadable import open_regular_fd
from medassets.tars.header import check_names, encode_end, encode_header, padding_bytes
from medassets.tars.reader import Member, OpenTar, iter_slices

_LEDGER_VERSION = 1

Outcome = SampleEntry | Rejected


@dataclass
class PartialShard:
    """An unfinished tar with its ledger; both have private names in the shard's folder.

    Only the holder of the shard's lock may open one.

    Attributes:
        tar: The partial tar.
        ledger: A header line, then one checksummed JSON line per outcome.
        plan: Fingerprint of the plan; a ledger of another plan is discarded.
        outcomes: Samples and rejected items so far, in the order of the plan.
        num_rejected: Rejected items among them.
        size_bytes: Length of the partial tar.
        sha256: Running digest of its bytes.
    """

    tar: Path
    ledger: Path
    plan: str
    outcomes: list[Outcome] = field(default_factory=list)
    num_rejected: int = 0
    size_bytes: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    _tar_fd: int = -1

    def __post_init__(self) -> None:
        """Name the ledger's journal; it is opened with the tar."""
        header = {"ledger": _LEDGER_VERSION, "plan": self.plan}
        self._journal = Journal(self.ledger, header)

    def __enter__(self) -> "PartialShard":
        """Open both files at the end of the last whole sample, or start again."""
        self._tar_fd = open_regular_fd(self.tar, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            self._resume()
        except BaseException:
            os.close(self._tar_fd)
            raise
        os.ftruncate(self._tar_fd, self.size_bytes)
        os.lseek(self._tar_fd, 0, os.SEEK_END)
        return self

    def __exit__(self, *_: object) -> None:
        """Close both files; they are kept for the next run."""
        os.close(self._tar_fd)
        self._journal.close()

    @property
    def reader(self) -> OpenTar:
        """Reader of the partial tar."""
        return OpenTar(self.tar, self._tar_fd)

    @property
    def samples(self) -> tuple[SampleEntry, ...]:
        """The samples in the tar, in order."""
        return tuple(o for o in self.outcomes if isinstance(o, SampleEntry))

    @property
    def rejected(self) -> tuple[Rejected, ...]:
        """The rejected items, in order."""
        return tuple(o for o in self.outcomes if isinstance(o, Rejected))

    def add_sample(
        self, key: str, members: Sequence[tuple[str, BytesLike]], facts: Mapping[str, Any]
    ) -> None:
        """Append a sample from its buffers without a copy, then record it in the ledger.

        Raises:
            ShardIntegrityError: If the names do not make a readable sample.
            OSError: If the disk cannot write the bytes; the ledger then does not list the sample.
        """
        check_names(key, (suffix for suffix, _ in members))
        start = self.size_bytes
        described = tuple(self._write_member(key, suffix, data) for suffix, data in members)
        # In the form that a resumed run reads, so that both write the same record.
        plain = json.loads(canonical_json(dict(facts)))
        entry = SampleEntry(key, start, self.size_bytes - start, described, plain)
        self._journal.append({"sample": asdict(entry)}, durable=False)
        self.outcomes.append(entry)

    def add_rejected(self, rejected: Rejected) -> None:
        """Record an item that is not a sample."""
        self._journal.append({"rejected": asdict(rejected)}, durable=False)
        self.outcomes.append(rejected)
        self.num_rejected += 1

    def add_end(self) -> None:
        """Append the end mark of the tar; a later run truncates it if the shard was not published."""
        self._write(encode_end(self.size_bytes))

    def remove(self) -> None:
        """Remove both files."""
        self.tar.unlink(missing_ok=True)
        self.ledger.unlink(missing_ok=True)

    def _write_member(self, key: str, suffix: str, content: BytesLike) -> Member:
        view = byte_view(content)
        self._write(encode_header(f"{key}.{suffix}", view.nbytes))
        offset, crc = self.size_bytes, 0
        for piece in iter_slices(view):
            crc = crc32(piece, crc)
            self._write(piece)
        self._write(bytes(padding_bytes(view.nbytes)))
        return Member(suffix, offset, view.nbytes, crc)

    def _write(self, data: bytes | memoryview) -> None:
        write_all(self._tar_fd, data)
        self.sha256.update(data)
        self.size_bytes += len(data)

    def _resume(self) -> None:
        """Read the outcomes before the first damaged or incomplete sample."""
        # The ledger of another plan is overwritten.
        with suppress(JournalHeaderError):
            for line in self._journal.replay():
                outcome = _parse(line, self.ledger)
                if isinstance(outcome, SampleEntry) and not self._is_whole(outcome):
                    break
                self.outcomes.append(outcome)
                self.num_rejected += isinstance(outcome, Rejected)

    def _is_whole(self, entry: SampleEntry) -> bool:
        """Return whether a sample's bytes match; if so, update the running digest with them."""
        digest = self.sha256.copy()
        if entry.offset != self.size_bytes or find_damage(self.reader, entry, feed=digest.update):
            return False
        self.sha256 = digest
        self.size_bytes += entry.size_bytes
        return True


def _parse(line: dict[str, Any], ledger: Path) -> Outcome:
    refuse_unknown(ledger, line, ("rejected", "sample"))
    if "rejected" in line:
        return take_fields(Rejected, line["rejected"], ledger)
    sample = line["sample"]
    members = tuple(take_fields(Member, member, ledger) for member in sample.pop("members"))
    return take_fields(SampleEntry, {**sample, "members": members}, ledger)

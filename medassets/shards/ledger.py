"""The journal of a shard in the making: how a killed run goes on after its last whole sample."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from medassets.arrays import BytesLike
from medassets.shards.record import Rejected, SampleEntry
from medassets.shards.tar import Member, encode_end
from medassets.storage.atomic import write_all
from medassets.storage.checksums import byte_view, crc32

_LEDGER_VERSION = 1
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Written:
    """A sample in the partial tar.

    Attributes:
        entry: What the record will say of it.
        crc32: CRC-32 of all its bytes, headers and padding among them, taken from memory.
    """

    entry: SampleEntry
    crc32: int


Outcome = Written | Rejected


@dataclass
class PartialShard:
    """A tar in the making, with its ledger; both private, beside the shard's final name.

    Only the holder of the shard's lock may open one.

    Attributes:
        tar: The partial tar.
        ledger: One JSON line per outcome behind a header line.
        plan: Fingerprint of what is being made; a ledger of another plan is thrown away.
        outcomes: What is done, in the order of the plan.
        size_bytes: Length of the partial tar.
        sha256: Running digest of its bytes.
    """

    tar: Path
    ledger: Path
    plan: str
    outcomes: list[Outcome] = field(default_factory=list)
    size_bytes: int = 0
    sha256: Any = field(default_factory=hashlib.sha256)
    _tar_fd: int = -1
    _ledger_fd: int = -1

    def __enter__(self) -> "PartialShard":
        """Open both files behind the last whole sample, or begin anew."""
        self._tar_fd = os.open(self.tar, os.O_RDWR | os.O_CREAT, 0o644)
        self._ledger_fd = os.open(self.ledger, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        end = self._resume()
        os.ftruncate(self._ledger_fd, end)
        os.ftruncate(self._tar_fd, self.size_bytes)
        os.lseek(self._tar_fd, 0, os.SEEK_END)
        if not end:
            self._append({"ledger": _LEDGER_VERSION, "plan": self.plan})
        return self

    def __exit__(self, *_: object) -> None:
        """Close both files; they stay for the next run."""
        os.close(self._tar_fd)
        os.close(self._ledger_fd)

    @property
    def fd(self) -> int:
        """Descriptor of the partial tar."""
        return self._tar_fd

    def add_sample(self, entry: SampleEntry, pieces: Sequence[BytesLike]) -> None:
        """Append a sample's bytes, then note it as whole.

        Raises:
            OSError: If the disk does not take the bytes; the ledger then does not know the sample.
        """
        crc = 0
        for piece in pieces:
            view = byte_view(piece)
            write_all(self._tar_fd, view)
            self.sha256.update(view)
            crc = crc32(view, crc)
        self.size_bytes += entry.size_bytes
        self._append({"sample": asdict(entry), "crc32": crc})
        self.outcomes.append(Written(entry, crc))

    def add_rejected(self, rejected: Rejected) -> None:
        """Note an item that will not become a sample."""
        self._append({"rejected": asdict(rejected)})
        self.outcomes.append(rejected)

    def add_end(self) -> None:
        """Append the end of the archive; a later run cuts it off again if nothing was published."""
        end = encode_end(self.size_bytes)
        write_all(self._tar_fd, end)
        self.sha256.update(end)
        self.size_bytes += len(end)

    def remove(self) -> None:
        """Remove both files."""
        self.tar.unlink(missing_ok=True)
        self.ledger.unlink(missing_ok=True)

    def _append(self, line: dict[str, Any]) -> None:
        # One write: a kill leaves the line or a part of it, and a part is not JSON.
        text = json.dumps(line, ensure_ascii=False) + "\n"
        write_all(self._ledger_fd, text.encode())

    def _resume(self) -> int:
        """Take over what is whole; return the length of the ledger that describes it."""
        lines = _iter_lines(self.ledger)
        header = next(lines, None)
        if header is None or header[0] != {"ledger": _LEDGER_VERSION, "plan": self.plan}:
            return 0
        end = header[1]
        for line, line_end in lines:
            outcome = _parse(line)
            if outcome is None or (isinstance(outcome, Written) and not self._is_whole(outcome)):
                break
            self.outcomes.append(outcome)
            end = line_end
        return end

    def _is_whole(self, written: Written) -> bool:
        """Check a sample's bytes, and feed the running digest if they are right."""
        entry, digest, crc = written.entry, self.sha256.copy(), 0
        if entry.offset != self.size_bytes:
            return False
        for chunk in iter_chunks(self._tar_fd, entry.offset, entry.size_bytes):
            digest.update(chunk)
            crc = crc32(chunk, crc)
        if crc != written.crc32:
            return False
        self.sha256 = digest
        self.size_bytes += entry.size_bytes
        return True


def iter_chunks(fd: int, offset: int, size_bytes: int) -> Iterator[memoryview]:
    """Yield a range of a file piece by piece, in one buffer that stays in the cache.

    Ends early where the file does.
    """
    buffer = memoryview(bytearray(_CHUNK_BYTES))
    end = offset + size_bytes
    while offset < end:
        got = os.preadv(fd, [buffer[: min(_CHUNK_BYTES, end - offset)]], offset)
        if not got:
            return
        yield buffer[:got]
        offset += got


def _iter_lines(ledger: Path) -> Iterator[tuple[Any, int]]:
    end = 0
    with ledger.open("rb") as file:
        for line in file:
            end += len(line)
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line), end
            except ValueError:
                return


def _parse(line: Any) -> Outcome | None:
    try:
        if "rejected" in line:
            return Rejected(**line["rejected"])
        sample = dict(line["sample"])
        members = tuple(Member(**member) for member in sample.pop("members"))
        return Written(SampleEntry(members=members, **sample), line["crc32"])
    except (TypeError, KeyError):
        return None

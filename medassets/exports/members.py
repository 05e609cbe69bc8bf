"""Members of published shards, checked as they are read."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.errors import ShardIntegrityError
from medassets.shards.readback import iter_chunks
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import crc32
from medassets.tars.header import Member


@dataclass(frozen=True)
class OpenShard:
    """One shard, open for reading on any thread.

    Attributes:
        record: Its record.
        path: The tar.
        fd: Descriptor of the tar.
    """

    record: ShardRecord
    path: Path
    fd: int

    def read(self, sample: SampleEntry, suffix: str) -> bytearray:
        """Return the content of one member.

        Raises:
            ShardIntegrityError: If the sample has no such member, or its content is not what the
                record says.
        """
        member = self.find(sample, suffix)
        content = bytearray(member.size_bytes)
        view, done = memoryview(content), 0
        while done < len(view):
            got = os.preadv(self.fd, [view[done:]], member.offset + done)
            if not got:
                break
            done += got
        if done < len(view) or crc32(content) != member.crc32:
            raise self._damage(sample, suffix)
        return content

    def iter_checked(self, sample: SampleEntry, suffix: str) -> Iterator[memoryview]:
        """Yield the content of a large member piece by piece, in one buffer that is used again.

        Raises:
            ShardIntegrityError: After the last piece, if they were not what the record says.
        """
        member, crc, done = self.find(sample, suffix), 0, 0
        for chunk in iter_chunks(self.fd, member.offset, member.size_bytes):
            crc, done = crc32(chunk, crc), done + len(chunk)
            yield chunk
        if done < member.size_bytes or crc != member.crc32:
            raise self._damage(sample, suffix)

    def read_json(self, sample: SampleEntry, suffix: str) -> Any:
        """Return the value of a JSON member.

        Raises:
            ShardIntegrityError: If it is missing, damaged or no JSON.
        """
        try:
            return json.loads(self.read(sample, suffix))
        except ValueError as error:
            if isinstance(error, ShardIntegrityError):
                raise
            raise self.complain(sample, f"member .{suffix} is no JSON: {error}") from error

    def find(self, sample: SampleEntry, suffix: str) -> Member:
        """Return where a member lies.

        Raises:
            ShardIntegrityError: If the sample has no such member.
        """
        for member in sample.members:
            if member.suffix == suffix:
                return member
        raise self.complain(sample, f"there is no member .{suffix}")

    def complain(self, sample: SampleEntry, what: str) -> ShardIntegrityError:
        """Return an error that names shard and sample, with the remedy."""
        msg = f"{self.path}: {sample.key}: {what}; build partition {self.record.partition} again"
        return ShardIntegrityError(msg)

    def _damage(self, sample: SampleEntry, suffix: str) -> ShardIntegrityError:
        return self.complain(sample, f"member .{suffix} is damaged, or the shard has just changed")


@contextmanager
def open_shard(record: ShardRecord, path: Path) -> Iterator[OpenShard]:
    """Open a shard's tar for the length of a `with` block.

    Raises:
        FileNotFoundError: If the tar is gone.
    """
    fd = os.open(path, os.O_RDONLY)
    try:
        yield OpenShard(record, path, fd)
    finally:
        os.close(fd)

"""Members of a published shard, found and verified by its record."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medassets.errors import DamagedTarError, ShardIntegrityError
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import parse_json
from medassets.tars.reader import Member, OpenTar, open_tar


@dataclass(frozen=True)
class OpenShard:
    """One shard with its record; any number of threads may share it.

    Attributes:
        record: Its record.
        tar: Its tar.
    """

    record: ShardRecord
    tar: OpenTar

    def read(self, sample: SampleEntry, suffix: str) -> bytearray:
        """Return the content of one member.

        Raises:
            ShardIntegrityError: If the sample does not have the member, or its content differs from
                the record.
        """
        member = self.find(sample, suffix)
        with self._naming(sample):
            return self.tar.read(member)

    def iter_checked(self, sample: SampleEntry, suffix: str) -> Iterator[memoryview]:
        """Yield the content of a large member in chunks; a chunk is valid until the next one.

        Raises:
            ShardIntegrityError: As `read`; different content is found after the last chunk.
        """
        member = self.find(sample, suffix)
        with self._naming(sample):
            yield from self.tar.iter_chunks(member)

    def read_json(self, sample: SampleEntry, suffix: str) -> Any:
        """Return the value of a JSON member.

        Raises:
            ShardIntegrityError: If it is missing, damaged or not JSON.
        """
        content = self.read(sample, suffix)
        try:
            return parse_json(content)
        except ValueError as error:
            raise self.complain(sample, f"member .{suffix} is not JSON: {error}") from error

    def find(self, sample: SampleEntry, suffix: str) -> Member:
        """Return one member of a sample.

        Raises:
            ShardIntegrityError: If the sample does not have it.
        """
        for member in sample.members:
            if member.suffix == suffix:
                return member
        raise self.complain(sample, f"there is no member .{suffix}")

    def complain(self, sample: SampleEntry, what: str) -> ShardIntegrityError:
        """Return an error that names shard and sample, with the remedy."""
        where = f"{self.tar.path}: {sample.key}"
        return ShardIntegrityError(
            f"{where}: {what}; build partition {self.record.partition} again"
        )

    @contextmanager
    def _naming(self, sample: SampleEntry) -> Iterator[None]:
        try:
            yield
        except DamagedTarError as error:
            raise self.complain(sample, error.what) from error


@contextmanager
def open_shard(record: ShardRecord, path: Path) -> Iterator[OpenShard]:
    """Open a shard's tar for the length of a `with` block.

    Raises:
        FileNotFoundError: If the tar does not exist.
    """
    with open_tar(path) as tar:
        yield OpenShard(record, tar)

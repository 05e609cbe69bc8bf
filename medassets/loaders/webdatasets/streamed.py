"""One sample of a streamed tar, read as the samples of indexed shards are."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

from medassets.arrays import BytesLike
from medassets.errors import ShardIntegrityError
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.loaders.members import ShardReader
from medassets.storage.checksums import byte_view
from medassets.tars.reader import Member


class StreamedIndex(ShardIndex):
    """The index of one streamed sample.

    Args:
        url: Where its tar came from.
        sample: The sample.
    """

    def __init__(self, url: str, sample: IndexedSample) -> None:
        self.source, self.paths = url, (url,)
        self.sample = sample

    def __len__(self) -> int:
        """Return 1."""
        return 1

    def locate(self, index: int) -> IndexedSample:
        """Return the sample."""
        return self.sample

    def damage(self, sample: IndexedSample, what: str) -> ShardIntegrityError:
        """Return the error for the sample, with the remedy."""
        msg = (
            f"{self.source}: {sample.key}: {what}; copy the shard again from where it was made, or "
            f"check the copy with `medassets verify`"
        )
        return ShardIntegrityError(msg)


class StreamedReader(ShardReader):
    """A reader of one sample whose members are in memory.

    Args:
        members: Sample of `webdataset`: suffix -> content, `__key__` and `__url__`.
    """

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._contents = {
            suffix: byte_view(content)
            for suffix, content in members.items()
            if not suffix.startswith("__")
        }
        named = {
            suffix: Member(suffix, 0, len(content), None)
            for suffix, content in self._contents.items()
        }
        self.sample = IndexedSample(0, str(members["__key__"]), 0, named, 0)
        self.index = StreamedIndex(str(members["__url__"]), self.sample)

    def read_start(self, sample: IndexedSample, suffix: str, num_bytes: int) -> bytes:
        """Return the first bytes of a member; fewer where it is shorter."""
        return bytes(self._contents[suffix][:num_bytes])

    def fill(self, sample: IndexedSample, suffix: str, pieces: Iterable[BytesLike]) -> None:
        """Copy one whole member into buffers, one after the other.

        Args:
            sample: The sample.
            suffix: The member.
            pieces: Writable C-contiguous buffers, in total as long as the member.

        Raises:
            ShardIntegrityError: If their length is another one.
        """
        content, start = self._contents[suffix], 0
        for piece in pieces:
            # The stubs for Python 3.11 do not know that arrays are buffers.
            view = memoryview(cast("bytearray", piece)).cast("B")
            part = content[start : start + len(view)]
            view[: len(part)] = part
            start += len(view)
        if start != len(content):
            what = f"member .{suffix} has {len(content):,} bytes, {start:,} were asked for"
            raise self.index.damage(sample, what)

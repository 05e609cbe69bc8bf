"""Random access to the members of samples: positioned reads into the caller's memory."""

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args

import numpy as np

from medassets.arrays import BytesLike
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.storage.checksums import byte_view, crc32
from medassets.tars.lists import Source

Check = Literal["first", "always", "never"]

_MAX_OPEN = 64
_PIECE_BYTES = 1 << 20
"""Size of a piece that is still in the cache when its checksum is computed."""


class ShardReader:
    """Reads members of samples by index.

    Files are opened on first use, and the least recently used ones are closed. Threads may share a
    reader; a copy in another process, forked or pickled, opens its own files.

    Args:
        source: A manifest, a folder, patterns or a list of tars.
        check: When contents are compared with the record's CRC-32: at their `first` read by this
            process, `always` or `never`. Shards without a record are not checked.

    Attributes:
        index: Index of the samples.

    Raises:
        ShardIntegrityError: If a shard is missing or not what its record says.
        ValueError: If `check` is unknown.
    """

    def __init__(self, source: Source, *, check: Check = "first") -> None:
        if check not in get_args(Check):
            msg = f"check: expected one of {', '.join(get_args(Check))}, got {check!r}"
            raise ValueError(msg)
        self.index = ShardIndex(source)
        self._check = check
        self._forget()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without files and locks."""
        return {"index": self.index, "_check": self._check}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state in another process."""
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._state = _ProcessState(self.index.num_members)

    def _here(self) -> "_ProcessState":
        # Another thread may have held the lock when the process forked.
        if self._state.process != os.getpid():
            self._forget()
        return self._state

    def read(self, index: int, suffixes: tuple[str, ...]) -> tuple[IndexedSample, list[bytearray]]:
        """Return a sample and the checked contents of some of its members.

        Args:
            index: Index of the sample; a negative one counts from the end.
            suffixes: Members to read.

        Raises:
            IndexError: If the index is out of range.
            ShardIntegrityError: If the shard differs from its record; the message names shard and sample.
        """
        sample = self.index.locate(index)
        return sample, [self.read_member(sample, suffix) for suffix in suffixes]

    def read_member(self, sample: IndexedSample, suffix: str) -> bytearray:
        """Return the content of one member.

        Raises:
            ShardIntegrityError: If it is missing or damaged.
        """
        member = sample.members.get(suffix)
        if member is None:
            raise self.index.damage(sample, f"has no member .{suffix}")
        content = bytearray(member.size_bytes)
        self.fill(sample, suffix, [content])
        return content

    def read_text(self, sample: IndexedSample, suffix: str) -> str:
        """Return the text of one member.

        Raises:
            ShardIntegrityError: If it is missing, damaged or not UTF-8.
        """
        content = self.read_member(sample, suffix)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise self.index.damage(sample, f"member .{suffix} is not UTF-8 ({error})") from error

    def read_json(self, sample: IndexedSample, suffix: str) -> Any:
        """Return the JSON value of one member.

        Raises:
            ShardIntegrityError: If it is missing, damaged or not JSON.
        """
        content = self.read_member(sample, suffix)
        try:
            return json.loads(content)
        except (ValueError, RecursionError) as error:
            raise self.index.damage(sample, f"member .{suffix} is not JSON ({error})") from error

    def read_start(self, sample: IndexedSample, suffix: str, num_bytes: int) -> bytes:
        """Return the first bytes of a member, unchecked; fewer if the member is shorter.

        Raises:
            ShardIntegrityError: If they cannot be read.
        """
        member = sample.members[suffix]
        content = bytearray(min(num_bytes, member.size_bytes))
        self._read_at(sample, suffix, memoryview(content), member.offset)
        return bytes(content)

    def fill(self, sample: IndexedSample, suffix: str, pieces: Iterable[BytesLike]) -> None:
        """Read a whole member into buffers, one after the other.

        A piece is filled before the next one is requested, so that a generator can reuse the same
        memory and process each piece while it is in the cache.

        Args:
            sample: The sample.
            suffix: The member.
            pieces: Writable C-contiguous buffers, in total as long as the member.

        Raises:
            ShardIntegrityError: If the member is damaged; possibly only after the last piece.
        """
        member = sample.members[suffix]
        checking = member.crc32 is not None and self._is_due(member.number)
        position, crc = member.offset, 0
        for piece in pieces:
            for view in _split(byte_view(piece), checking=checking):
                self._read_at(sample, suffix, view, position)
                position += len(view)
                crc = crc32(view, crc) if checking else 0
        if position != member.offset + member.size_bytes:
            read, size = position - member.offset, member.size_bytes
            raise self.index.damage(sample, f"member .{suffix}: {read:,} of {size:,} bytes read")
        if checking and crc != member.crc32:
            raise self.index.damage(sample, f"member .{suffix} is damaged (CRC-32 differs)")
        self._here().checked[member.number] = True

    def expect(self, index: int, suffixes: Iterable[str]) -> None:
        """Ask the kernel to read some members of a sample ahead."""
        sample = self.index.locate(index)
        file = self._file(sample)
        for suffix in suffixes:
            if (member := sample.members.get(suffix)) is not None:
                os.posix_fadvise(file.fd, member.offset, member.size_bytes, os.POSIX_FADV_WILLNEED)

    def _is_due(self, member: int) -> bool:
        checked = self._here().checked
        return self._check == "always" or (self._check == "first" and not checked[member])

    def _read_at(self, sample: IndexedSample, suffix: str, view: memoryview, position: int) -> None:
        file = self._file(sample)
        try:
            got = 0
            while got < len(view):
                # Linux reads at most 2 GiB at a time.
                count = os.preadv(file.fd, [view[got:]], position + got)
                if not count:
                    what = (
                        f"member .{suffix} ends at byte {position + got:,}: the shard was cut off"
                    )
                    raise self.index.damage(sample, what)
                got += count
        except OSError as error:
            what = f"member .{suffix} cannot be read ({error})"
            raise self.index.damage(sample, what) from error

    def _file(self, sample: IndexedSample) -> "_File":
        state = self._here()
        with state.lock:
            file = state.open.get(sample.shard)
            if file is None:
                file = state.open[sample.shard] = self._open_file(sample)
                if len(state.open) > _MAX_OPEN:
                    # Closed after its last reader is done.
                    state.open.popitem(last=False)
            state.open.move_to_end(sample.shard)
            return file

    def _open_file(self, sample: IndexedSample) -> "_File":
        try:
            file = _File(self.index.paths[sample.shard])
        except OSError as error:
            what = f"the shard cannot be opened any more ({error.strerror})"
            raise self.index.damage(sample, what) from error
        size, expected = os.fstat(file.fd).st_size, self.index.size_bytes[sample.shard]
        if size != expected:
            what = f"the shard has {size:,} bytes now, {expected:,} when it was indexed"
            raise self.index.damage(sample, what)
        return file


def _split(view: memoryview, *, checking: bool) -> Iterator[memoryview]:
    step = _PIECE_BYTES if checking else max(len(view), 1)
    for start in range(0, len(view), step):
        yield view[start : start + step]


class _ProcessState:
    """Open files and checked members of one process."""

    def __init__(self, num_members: int) -> None:
        self.process = os.getpid()
        self.open: OrderedDict[int, _File] = OrderedDict()
        # Held for look-ups and for opening a file, not while reading.
        self.lock = threading.Lock()
        self.checked = np.zeros(num_members, np.bool_)


class _File:
    """A file descriptor that is closed after its last use."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def __del__(self) -> None:
        if hasattr(self, "fd"):
            os.close(self.fd)

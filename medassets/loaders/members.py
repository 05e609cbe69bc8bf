"""Random access to the members of samples, by number of the sample."""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import numpy as np

from medassets.arrays import BytesLike
from medassets.errors import DamagedTarError
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.storage.checksums import parse_json
from medassets.tars.lists import Source
from medassets.tars.reader import OpenTar, open_tar

Check = Literal["first", "always", "never"]

_MAX_OPEN = 64


class ShardReader:
    """Reads members of samples, by number of the sample.

    Tars are opened at their first use, and the least recently used is closed. Threads may share a
    reader. A copy in another process, forked or pickled, opens the tars itself.

    Args:
        source: A manifest, a folder, patterns or a list of tars.
        check: When contents are compared with the record's CRC-32: at their `first` read by this
            process, `always` or `never`. Shards without a record have no CRC-32.
        require_complete: Refuse a manifest that lacks samples; otherwise a warning says what.

    Attributes:
        index: Index of the samples.

    Raises:
        ShardIntegrityError: If a shard is missing or differs from its record.
        IncompleteManifestError: If the manifest must be complete, and is not.
        ValueError: If `check` is unknown.
    """

    def __init__(
        self, source: Source, *, check: Check = "first", require_complete: bool = False
    ) -> None:
        if check not in get_args(Check):
            msg = f"check: expected one of {', '.join(get_args(Check))}, got {check!r}"
            raise ValueError(msg)
        self.index = ShardIndex(source, require_complete=require_complete)
        self._check = check
        self._forget()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.index)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for another process, without open files and locks."""
        return {"index": self.index, "_check": self._check}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state from a pickle."""
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
            index: Number of the sample; negative numbers count from the end.
            suffixes: Members to read.

        Raises:
            IndexError: If the sample does not exist.
            ShardIntegrityError: If a member is missing or damaged; names shard and sample.
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
            return parse_json(content)
        except ValueError as error:
            raise self.index.damage(sample, f"member .{suffix} is not JSON ({error})") from error

    def read_start(self, sample: IndexedSample, suffix: str, num_bytes: int) -> bytes:
        """Return the first bytes of a member, without a check; fewer where it is shorter.

        Raises:
            ShardIntegrityError: If they cannot be read.
        """
        member = sample.members[suffix]
        size = min(num_bytes, member.size_bytes)
        with self._open(sample, suffix) as tar:
            content = tar.read_range(member.offset, size)
        if len(content) < size:
            end = member.offset + len(content)
            what = f"member .{suffix} ends at byte {end:,}: the tar is cut off"
            raise self.index.damage(sample, what)
        return bytes(content)

    def fill(self, sample: IndexedSample, suffix: str, pieces: Iterable[BytesLike]) -> None:
        """Read one whole member into buffers, one after the other; see `OpenTar.fill`.

        Args:
            sample: The sample.
            suffix: The member.
            pieces: Writable C-contiguous buffers, in total as long as the member.

        Raises:
            ShardIntegrityError: If the member is damaged; possibly only after the last piece.
        """
        number = sample.number_of(suffix)
        with self._open(sample, suffix) as tar:
            tar.fill(sample.members[suffix], pieces, check=self._is_due(number))
        self._here().checked[number] = True

    def expect(self, index: int, suffixes: Iterable[str]) -> None:
        """Tell the kernel that some members of a sample will be read soon."""
        sample = self.index.locate(index)
        tar = self._tar(sample)
        for suffix in suffixes:
            if (member := sample.members.get(suffix)) is not None:
                tar.expect(member)

    def _is_due(self, member: int) -> bool:
        checked = self._here().checked
        return self._check == "always" or (self._check == "first" and not checked[member])

    @contextmanager
    def _open(self, sample: IndexedSample, suffix: str) -> Iterator[OpenTar]:
        """Give the tar of a sample; errors of reading it name shard and sample."""
        try:
            yield self._tar(sample)
        except DamagedTarError as error:
            raise self.index.damage(sample, error.what) from error
        except OSError as error:
            what = f"member .{suffix} cannot be read ({error})"
            raise self.index.damage(sample, what) from error

    def _tar(self, sample: IndexedSample) -> OpenTar:
        state = self._here()
        with state.lock:
            tar = state.open.get(sample.shard)
            if tar is None:
                tar = state.open[sample.shard] = self._open_tar(sample)
                if len(state.open) > _MAX_OPEN:
                    # Closed when its last reader releases it.
                    state.open.popitem(last=False)
            state.open.move_to_end(sample.shard)
            return tar

    def _open_tar(self, sample: IndexedSample) -> OpenTar:
        try:
            tar = open_tar(self.index.paths[sample.shard])
        except OSError as error:
            what = f"the shard cannot be opened any more ({error.strerror})"
            raise self.index.damage(sample, what) from error
        size, expected = tar.size_bytes, self.index.size_bytes[sample.shard]
        if size != expected:
            what = f"the shard has {size:,} bytes now, {expected:,} when it was indexed"
            raise self.index.damage(sample, what)
        return tar


class _ProcessState:
    """Open tars and checked members of one process."""

    def __init__(self, num_members: int) -> None:
        self.process = os.getpid()
        self.open: OrderedDict[int, OpenTar] = OrderedDict()
        # Held for look-ups and for opening a tar, never during a read.
        self.lock = threading.Lock()
        self.checked = np.zeros(num_members, np.bool_)

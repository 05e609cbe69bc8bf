"""Append-only files of checksummed JSON lines: a line that a kill cut short is detected and dropped."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medassets.errors import JournalHeaderError
from medassets.storage.atomic import fsync_folder, publish_bytes, write_all
from medassets.storage.checksums import canonical_json, crc32, parse_json
from medassets.storage.later_versions import refuse_later
from medassets.storage.ownership import is_plain_file
from medassets.storage.unreadable import open_regular, open_regular_fd, read_regular


class Journal:
    """One append-only file: a header line, then one line per entry, each behind its CRC-32.

    The caller holds a lock that excludes other writers, and consumes `replay` before it appends.

    Attributes:
        path: The file; it appears with the first line.
        header: First line.
        end: Where the last accepted line ends, in bytes; 0 for a new journal.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path, self.header = path, header
        self.end = 0
        self._fd = -1

    def replay(self) -> Iterator[dict[str, Any]]:
        """Yield the whole lines behind the header; a missing file has none.

        A line is accepted when the next one is asked for: where the caller stops, the journal ends.

        Raises:
            JournalHeaderError: If the file begins with another header.
            LaterVersionError: If the header states a later version.
        """
        self.end = 0
        for line, line_end in _iter_lines(self.path):
            if self.end:
                yield line
            elif line != self.header:
                self._refuse_later(line)
                raise JournalHeaderError(self.path, line)
            self.end = line_end

    def _refuse_later(self, found: Mapping[str, Any]) -> None:
        """Refuse a header with a higher version; a journal's version is its field that is a number."""
        for name, newest in self.header.items():
            if isinstance(newest, int):
                refuse_later(self.path, name, found.get(name), newest)

    def is_intact(self) -> bool:
        """Tell whether at most one unfinished line follows the accepted ones."""
        try:
            with open_regular(self.path) as file:
                file.seek(self.end)
                unfinished, more = file.readline(), file.read(1)
        except FileNotFoundError:
            return True
        # Without a header, only the beginning of one shows that the file is a journal at all.
        is_known = self.end or _encode_lines(self.header).startswith(unfinished)
        return bool(is_known) and not more

    def count_lines(self) -> int:
        """Return the number of accepted lines, the header included."""
        return read_regular(self.path)[: self.end].count(b"\n")

    def append(self, *lines: Mapping[str, Any], durable: bool) -> None:
        """Add lines in one write, so that a kill leaves whole lines and a part of one.

        Args:
            lines: The entries; the header is written before the first ones.
            durable: Whether the lines must survive a power cut.

        Raises:
            OSError: If the disk does not take them; the next call drops what it took.
        """
        is_new = not self.end
        data = _encode_lines(*([self.header] if is_new else []), *lines)
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
            self._fd = open_regular_fd(self.path, flags, 0o644)
        os.ftruncate(self._fd, self.end)
        write_all(self._fd, data)
        if durable:
            os.fsync(self._fd)
        self.end += len(data)
        if durable and is_new:
            fsync_folder(self.path.parent)

    def rewrite(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Replace all entries in one step: readers see the old ones or the new ones.

        Args:
            lines: The entries behind the header.

        Raises:
            DiskSpaceError: If the disk is full; the old entries stay.
        """
        self.close()
        data = _encode_lines(self.header, *lines)
        publish_bytes(self.path, data, is_ours=is_plain_file)
        self.end = len(data)

    def close(self, *, durable: bool = False) -> None:
        """Close the file.

        Args:
            durable: Whether every line must survive a power cut.
        """
        if self._fd >= 0:
            if durable:
                os.fsync(self._fd)
            os.close(self._fd)
            self._fd = -1


def _encode_lines(*lines: Mapping[str, Any]) -> bytes:
    bodies = [canonical_json(line) for line in lines]
    return b"".join(b"%08x %s\n" % (crc32(body), body) for body in bodies)


def _iter_lines(path: Path) -> Iterator[tuple[dict[str, Any], int]]:
    """Yield lines and where they end, until the first one that is not whole."""
    end = 0
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return
    with file:
        for line in file:
            checksum, _, body = line.removesuffix(b"\n").partition(b" ")
            if not line.endswith(b"\n") or checksum != b"%08x" % crc32(body):
                return
            try:
                entry = parse_json(body)
            except ValueError:
                return
            end += len(line)
            yield entry, end

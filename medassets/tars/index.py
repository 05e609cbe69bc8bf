"""Where the members of each sample of a foreign tar lie, kept between reads."""

import os
import stat
import threading
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from medassets.errors import CatalogError, Reason, SampleRejectedError, ShardIntegrityError
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.scan import scan_tar

# A shard is planned by study, so its samples may lie in any of the source's tars. Some 400 bytes each.
_KEPT_MEMBERS = 250_000


class Extent(NamedTuple):
    """A stretch of a file.

    Attributes:
        offset: Where it begins.
        size_bytes: Its length.
    """

    offset: int
    size_bytes: int


Members = Mapping[str, Extent]
"""Suffix in lower case -> where the content lies, in the order of the tar."""


class TarStat(NamedTuple):
    """What tells that a tar is another one.

    Attributes:
        num_bytes: Its size.
        mtime_ns: When it was last changed.
    """

    num_bytes: int
    mtime_ns: int


def split_sample_path(path: str) -> tuple[str, str]:
    """Return the tar inside the source, and the key in the tar, that a sample's path names.

    Such a path is `<tar>/<key>`; the first part that ends with `.tar` is the tar.

    Raises:
        CatalogError: If no part does, or no key follows.
    """
    parts = path.split("/")
    ends = [number for number, part in enumerate(parts) if part.lower().endswith(".tar")]
    if not ends or ends[0] == len(parts) - 1:
        msg = f"path in source: expected <shard>.tar/<key>, got {path!r}"
        raise CatalogError(msg)
    end = ends[0] + 1
    return "/".join(parts[:end]), "/".join(parts[end:])


def is_tar_path(path: str) -> bool:
    """Tell whether a path inside the source names a tar, and not a sample of one."""
    parts = [part.lower().endswith(".tar") for part in path.split("/")]
    return parts[-1] and not any(parts[:-1])


def stat_tar(path: Path) -> TarStat:
    """Return size and time of a tar.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if it is not there or no file, UNREADABLE_SOURCE if the
            system says no.
    """
    try:
        with unreadable_as_rejection():
            found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar does not exist") from error
    if not stat.S_ISREG(found.st_mode):
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar is no plain file")
    return TarStat(found.st_size, found.st_mtime_ns)


def index_tar(path: Path) -> Mapping[str, Members]:
    """Return the members of every sample of a tar, by key and in the order of the tar.

    A tar of the same size and time as before is not read again.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if it is not there, CORRUPT_TAR if it is damaged or
            packed as no reader could read it, UNREADABLE_SOURCE if the system says no.
    """
    return _cache.get(path, stat_tar(path))


def find_members(path: Path, key: str) -> Members:
    """Return where the members of one sample lie.

    Args:
        path: The tar.
        key: Key of the sample in the tar.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if tar or sample are not there; see `index_tar`.
    """
    members = index_tar(path).get(key)
    if members is None:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, f"the tar has no sample {key!r}")
    return members


def read_extent(fd: int, extent: Extent) -> bytes:
    """Return a stretch of an open file; shorter where the file ends before it.

    Args:
        fd: The file.
        extent: Which stretch; all of it is held in memory.
    """
    offset, left = extent
    pieces: list[bytes] = []
    # One call of the kernel returns 2 GiB at most.
    while left and (piece := os.pread(fd, left, offset)):
        pieces.append(piece)
        offset, left = offset + len(piece), left - len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _index(path: Path) -> Mapping[str, Members]:
    try:
        with unreadable_as_rejection():
            samples = scan_tar(path)
    except ShardIntegrityError as error:
        # A record names no folder of this machine.
        detail = str(error).removeprefix(f"{path}: ")
        raise SampleRejectedError(Reason.CORRUPT_TAR, f"the tar is damaged: {detail}") from error
    except FileNotFoundError as error:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar does not exist") from error
    return {
        sample.key: {suffix: Extent(offset, size) for suffix, offset, size in sample.members}
        for sample in samples
    }


class _TarCache:
    """The indices of the tars used last, all together of a limited number of members."""

    def __init__(self, most_members: int) -> None:
        self._most_members = most_members
        self._kept: OrderedDict[Path, tuple[TarStat, int, Mapping[str, Members]]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, stat: TarStat) -> Mapping[str, Members]:
        with self._lock:
            known = self._kept.get(path)
            if known is not None and known[0] == stat:
                self._kept.move_to_end(path)
                return known[2]
        # Not under the lock: threads that read other tars would wait for this one.
        samples = _index(path)
        with self._lock:
            self._kept[path] = (stat, sum(map(len, samples.values())), samples)
            self._kept.move_to_end(path)
            while len(self._kept) > 1 and self._num_members() > self._most_members:
                self._kept.popitem(last=False)
        return samples

    def _num_members(self) -> int:
        return sum(num for _, num, _ in self._kept.values())


_cache = _TarCache(_KEPT_MEMBERS)

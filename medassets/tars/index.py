"""Members of every sample of a tar without a record, cached between reads."""

import stat
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from medassets.errors import (
    CatalogError,
    DamagedTarError,
    Reason,
    SampleRejectedError,
    UnterminatedTarError,
)
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.reader import Members
from medassets.tars.scan import scan_tar

# A shard is planned by study, so its samples may be in any of the source's tars. About 400 bytes each.
_KEPT_MEMBERS = 250_000


class TarStat(NamedTuple):
    """Size and time of a tar; if one of them changes, the tar is read again.

    Attributes:
        num_bytes: Its size.
        mtime_ns: Time of its last change, in ns since 1970.
    """

    num_bytes: int
    mtime_ns: int


def split_sample_path(path: str) -> tuple[str, str]:
    """Return the tar inside the source, and the key in the tar, that a sample's path names.

    Such a path is `<tar>/<key>`; the first part that ends with `.tar` is the tar.

    Raises:
        CatalogError: If no part ends with `.tar`, or no key follows it.
    """
    parts = path.split("/")
    ends = [number for number, part in enumerate(parts) if part.lower().endswith(".tar")]
    if not ends or ends[0] == len(parts) - 1:
        msg = f"path in source: expected <shard>.tar/<key>, got {path!r}"
        raise CatalogError(msg)
    end = ends[0] + 1
    return "/".join(parts[:end]), "/".join(parts[end:])


def is_tar_path(path: str) -> bool:
    """Return whether a path inside the source names a tar, and not a sample of one."""
    parts = [part.lower().endswith(".tar") for part in path.split("/")]
    return parts[-1] and not any(parts[:-1])


def stat_tar(path: Path) -> TarStat:
    """Return size and time of a tar.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if it does not exist or is not a regular file,
            UNREADABLE_SOURCE if the system refuses access.
    """
    try:
        with unreadable_as_rejection():
            found = path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar does not exist") from error
    if not stat.S_ISREG(found.st_mode):
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar is not a regular file")
    return TarStat(found.st_size, found.st_mtime_ns)


def index_tar(path: Path, *, accept_unterminated: bool = False) -> Mapping[str, Members]:
    """Return the members of every sample of a tar, by key and in the order of the tar.

    A tar whose size and time are the same as before is not read again.

    Args:
        path: The tar.
        accept_unterminated: Whether it may end without an end mark; see `scan_tar`.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if it does not exist, CORRUPT_TAR if it is damaged or
            contains what `scan_tar` refuses, UNREADABLE_SOURCE if the system refuses access.
    """
    indexed = _cache.get(path, stat_tar(path))
    if indexed.unterminated and not accept_unterminated:
        raise SampleRejectedError(Reason.CORRUPT_TAR, indexed.unterminated)
    return indexed.samples


def find_members(path: Path, key: str, *, accept_unterminated: bool = False) -> Members:
    """Return the members of one sample.

    Args:
        path: The tar.
        key: Key of the sample in the tar.
        accept_unterminated: Whether the tar may end without an end mark; see `scan_tar`.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if the tar or the sample does not exist; see `index_tar`.
    """
    members = index_tar(path, accept_unterminated=accept_unterminated).get(key)
    if members is None:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, f"the tar has no sample {key!r}")
    return members


@contextmanager
def tar_errors_as_rejections(path: Path) -> Iterator[None]:
    """Turn errors of reading one tar, in a block that reads no other file, into rejections.

    Raises:
        SampleRejectedError: CORRUPT_TAR if it is damaged, UNREADABLE_SOURCE if the system refuses
            access.
        OSError: Other errors of the system, those of a missing file among them.
    """
    try:
        with unreadable_as_rejection():
            yield
    except DamagedTarError as error:
        # Records contain no path of this machine.
        detail = f"the tar is damaged: {str(error).removeprefix(f'{path}: ')}"
        raise SampleRejectedError(Reason.CORRUPT_TAR, detail) from error


class _Indexed(NamedTuple):
    """Samples of a tar, and what is wrong with it if it has no end mark."""

    samples: Mapping[str, Members]
    unterminated: str


def _index(path: Path) -> _Indexed:
    try:
        with tar_errors_as_rejections(path):
            try:
                return _Indexed(scan_tar(path), "")
            except UnterminatedTarError as error:
                samples = scan_tar(path, accept_unterminated=True)
                return _Indexed(samples, f"the tar is damaged: {error.what}")
    except FileNotFoundError as error:
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, "the tar does not exist") from error


class _TarCache:
    """Indices of the most recently used tars; the total number of their members is limited."""

    def __init__(self, most_members: int) -> None:
        self._most_members = most_members
        self._kept: OrderedDict[Path, tuple[TarStat, int, _Indexed]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, path: Path, stat: TarStat) -> _Indexed:
        with self._lock:
            known = self._kept.get(path)
            if known is not None and known[0] == stat:
                self._kept.move_to_end(path)
                return known[2]
        # Outside the lock, so that threads can read other tars meanwhile.
        indexed = _index(path)
        with self._lock:
            self._kept[path] = (stat, sum(map(len, indexed.samples.values())), indexed)
            self._kept.move_to_end(path)
            while len(self._kept) > 1 and self._num_members() > self._most_members:
                self._kept.popitem(last=False)
        return indexed

    def _num_members(self) -> int:
        return sum(num for _, num, _ in self._kept.values())


_cache = _TarCache(_KEPT_MEMBERS)

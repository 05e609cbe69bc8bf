"""Open tars by URL, and see that each was received to its end mark."""

import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Protocol

from webdataset.gopen import gopen
from webdataset.tariterators import tar_file_expander

from medassets.errors import ShardIntegrityError

_OPENED_BY_WEBDATASET = frozenset(
    {"pipe", "http", "https", "sftp", "ftps", "scp", "gs", "htgs", "hf", "ais"}
)
_GZIP = b"\x1f\x8b"
# Two blocks of zeros end a tar. Source: POSIX.1-2017, pax, ustar interchange format.
_END_BYTES = 1024
_REST_BYTES = 1 << 20

Opened = Mapping[str, Any]
"""What passes between stages of `webdataset`: `url`, and after opening `stream`."""


class ByteStream(Protocol):
    """What `webdataset` reads a tar from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; empty at the end."""
        ...

    def close(self) -> None:
        """Release the connection or process."""
        ...


def open_url(url: str) -> ByteStream:
    """Open a URL to be read from its begin to its end.

    `pipe:`, `http:` and others are opened by `webdataset`, which runs a command for each; all
    others, such as `s3:`, by fsspec, with the settings of its environment variables and files.

    Raises:
        ShardIntegrityError: If nothing can open it; names the URL and the remedy.
    """
    scheme = url.partition(":")[0].lower()
    if scheme in _OPENED_BY_WEBDATASET:
        return gopen(url)
    import fsspec

    try:
        opened: Any = fsspec.open(url, "rb")
        return opened.open()
    except ImportError as error:
        msg = f'{url}: {error}; `pip install "medassets[s3]"` has what s3: needs'
        raise ShardIntegrityError(msg) from error
    except (OSError, ValueError) as error:
        msg = (
            f"{url}: the shard cannot be opened ({error}); correct the URL, or copy the shard there"
        )
        raise ShardIntegrityError(msg) from error


def open_streams(sources: Iterable[Opened]) -> Iterator[Opened]:
    """Open each URL, and check its end after the next stage has read it; a stage of `webdataset`.

    Raises:
        ShardIntegrityError: If a tar has no end mark: it was cut off, and samples are lost.
    """
    for source in sources:
        stream = _TailStream(open_url(source["url"]))
        try:
            yield {**source, "stream": stream}
            stream.require_end(source["url"])
        finally:
            stream.close()


def expand_tars(sources: Iterable[Opened]) -> Iterator[Any]:
    """Yield the members of opened tars; a stage of `webdataset`.

    Raises:
        ShardIntegrityError: If a tar cannot be read to its end, or its command fails.
    """
    for source in sources:
        try:
            yield from tar_file_expander([dict(source)])
        except (tarfile.TarError, OSError, EOFError) as error:
            # A command that failed says more than the tar that it did not write.
            source["stream"].read_rest(source["url"])
            raise _explain(source["url"], error) from error


def _explain(url: str, error: Exception) -> ShardIntegrityError:
    # webdataset adds its own objects to the arguments of an error.
    what = str(error.args[0] if error.args else error).partition(" @ ")[0]
    return ShardIntegrityError(
        f"{url}: the shard cannot be read to its end ({what}); copy it again, or correct the URL or "
        f"the command"
    )


class _TailStream:
    """A stream that remembers its last bytes."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._start = self._tail = b""

    def read(self, size: int = -1, /) -> bytes:
        content = self._stream.read(size)
        self._start = self._start or content[:2]
        self._tail = (self._tail + content[-_END_BYTES:])[-_END_BYTES:]
        return content

    def close(self) -> None:
        # A command that is stopped early fails; one that ended was asked for its status.
        with suppress(OSError):
            self._stream.close()

    def read_rest(self, url: str) -> None:
        """Read what is left and close, so that the status of a command is known."""
        try:
            while self.read(_REST_BYTES):
                pass
            self._stream.close()
        except OSError as error:
            raise _explain(url, error) from error

    def require_end(self, url: str) -> None:
        """Refuse a tar without its end mark; the next bytes may be part of it."""
        self.read_rest(url)
        is_whole = len(self._tail) == _END_BYTES and not any(self._tail)
        if not is_whole and self._start != _GZIP:
            msg = (
                f"{url}: the tar ends without its end mark: it was cut off, and samples are lost; copy "
                f"the shard again"
            )
            raise ShardIntegrityError(msg)

"""Readers of volumes behind the boundary of foreign bytes: whatever they raise is a rejection."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import wraps
from typing import ParamSpec

import numpy as np

from medassets.storage.foreign_bytes import rejecting_foreign
from medassets.volumes.files.header import VolumeHeader, VolumeStream

_P = ParamSpec("_P")


def guard_volume(
    open_volume: Callable[_P, AbstractContextManager[VolumeStream]],
) -> "Callable[_P, AbstractContextManager[GuardedStream]]":
    """Put a function that opens a volume behind the boundary; the user of the volume stays outside.

    Args:
        open_volume: Opens a volume as a stream.

    Returns:
        The same function; its stream raises SampleRejectedError, or OSError of the system.
    """

    @wraps(open_volume)
    @contextmanager
    def open_guarded(*args: _P.args, **kwargs: _P.kwargs) -> Iterator[GuardedStream]:
        with ExitStack() as stack:
            with rejecting_foreign():
                stream = stack.enter_context(open_volume(*args, **kwargs))
            yield GuardedStream(stream)

    return open_guarded


class GuardedStream:
    """A `VolumeStream` whose every read is behind the boundary.

    Args:
        stream: The stream.

    Attributes:
        header: That of the stream.
        fortran: That of the stream.
    """

    def __init__(self, stream: VolumeStream) -> None:
        self._stream = stream
        self.header: VolumeHeader = stream.header
        self.fortran: bool = stream.fortran

    def read_into(self, target: np.ndarray) -> None:
        """Read the next values as they are stored; see `VolumeStream`."""
        with rejecting_foreign():
            self._stream.read_into(target)

    def finish(self) -> None:
        """Read to the end and compare the checksum; see `VolumeStream`."""
        with rejecting_foreign():
            self._stream.finish()

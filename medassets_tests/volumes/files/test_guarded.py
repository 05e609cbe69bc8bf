"""The reader of a volume is behind the boundary of foreign bytes; the code that uses it is not."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.volumes.files.guarded import GuardedStream, guard_volume
from medassets.volumes.files.header import VolumeHeader, VolumeStream


class Broken:
    """A stream that fails in every read."""

    header = VolumeHeader.of_array((5, 7, 11), np.dtype("<i2"))
    fortran = True

    def read_into(self, target: np.ndarray) -> None:
        raise IndexError(target.size)

    def finish(self) -> None:
        raise OverflowError


@guard_volume
@contextmanager
def open_broken(*, at_once: bool = False) -> Iterator[VolumeStream]:
    if at_once:
        raise RecursionError
    yield Broken()


def test_opening_reading_and_finishing_are_rejections() -> None:
    with pytest.raises(SampleRejectedError, match="RecursionError"), open_broken(at_once=True):
        pass
    with open_broken() as stream:
        assert isinstance(stream, GuardedStream)
        with pytest.raises(SampleRejectedError, match=r"IndexError in .*read_into: 3") as caught:
            stream.read_into(np.zeros(3, np.int16))
        with pytest.raises(SampleRejectedError, match="OverflowError"):
            stream.finish()
    assert caught.value.reason is Reason.READER_FAILED


def test_a_bug_of_the_user_stays_what_it_is() -> None:
    with pytest.raises(ZeroDivisionError), open_broken():
        raise ZeroDivisionError

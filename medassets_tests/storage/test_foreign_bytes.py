"""Whatever a reader of foreign bytes raises becomes the error of one file; bugs of ours stay visible."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.storage.foreign_bytes import (
    explain_failure,
    iter_guarded,
    open_foreign,
    read_foreign,
    refusing_foreign,
    rejecting_foreign,
)

RAISED = [
    OverflowError("too large"),
    RecursionError("too deep"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid"),
    struct.error("short"),
    pa.ArrowInvalid("not a table"),
    ZeroDivisionError(),
    StopIteration(),
    AssertionError(),
    OSError("invalid data stream"),
]


@pytest.mark.parametrize("raised", RAISED, ids=repr)
def test_what_a_reader_raises_is_a_rejection_that_names_it(raised: Exception) -> None:
    with pytest.raises(SampleRejectedError) as caught, rejecting_foreign():
        raise raised
    assert caught.value.reason is Reason.READER_FAILED
    assert caught.value.__cause__ is raised
    assert type(raised).__name__ in caught.value.detail
    assert f"{__name__}.test_what_a_reader" in caught.value.detail


def test_a_reader_without_memory_is_not_the_fault_of_the_file_for_good() -> None:
    with pytest.raises(SampleRejectedError, match="MemoryError") as caught, rejecting_foreign():
        raise MemoryError
    assert caught.value.reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    "raised",
    [
        SampleRejectedError(Reason.CORRUPT_NPZ, "as the reader says"),
        OSError(errno.EMFILE, "too many open files"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_what_is_known_and_what_is_the_machine_pass(raised: BaseException) -> None:
    with pytest.raises(type(raised)) as caught, rejecting_foreign():
        raise raised
    assert caught.value is raised


def test_the_error_of_a_table_names_its_file() -> None:
    with (
        pytest.raises(CatalogError, match=r"^table\.csv: .*IndexError"),
        refusing_foreign("table.csv"),
    ):
        [].pop()


def test_an_explanation_is_the_same_in_every_run() -> None:
    assert " at 0x" not in explain_failure(TypeError(f"got {object()}"))
    assert len(explain_failure(ValueError("9" * 10_000))) < 400
    assert explain_failure(ValueError("\ud800")).encode()


def test_only_the_reader_is_behind_the_boundary_and_not_its_user() -> None:
    def read() -> Iterator[int]:
        yield 1
        raise OverflowError

    pieces = iter_guarded(read(), lambda _, what: CatalogError(what))
    assert next(pieces) == 1
    with pytest.raises(CatalogError, match="OverflowError"):
        next(pieces)
    with pytest.raises(ZeroDivisionError):
        [1 / number for number in iter_guarded([0], lambda _, what: CatalogError(what))]


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


MAKERS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": make_socket,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_no_file_never_blocks(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("input")
    MAKERS[kind](path)
    with pytest.raises(OSError) as caught:  # noqa: PT011
        open_foreign(path)
    assert caught.value.errno == errno.ENXIO


def test_a_file_larger_than_its_kind_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(CatalogError, match="1,099,511,627,776 bytes, expected at most 1,000"):
        read_foreign(path, most_bytes=1000)
    path.write_bytes(b"small")
    assert read_foreign(path, most_bytes=5) == b"small"

"""The boundary around every reader of bytes that others made: a bad file harms itself only.

A reader refuses what it foresees in its own words. Parsers, decompressors and codecs raise many other
things for a damaged or hostile file: OverflowError, RecursionError, `struct.error`, errors of pyarrow.
All of that passes this boundary, which turns it into an error that names the file. The error keeps
its cause, and names the class of it and the function that raised it: where that is one of ours, the
reader has a bug, and the reason `reader_failed` shows it.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import ContextDecorator
from pathlib import Path
from types import TracebackType
from typing import TypeVar

from medassets.errors import CatalogError, MedassetsError, Reason, SampleRejectedError
from medassets.storage.memory import read_budget_bytes
from medassets.storage.unreadable import open_regular_fd

_T = TypeVar("_T")

Refuse = Callable[[Exception, str], Exception]
"""Makes the error of a file, of what was raised and a sentence about it."""

MALFORMED: tuple[type[Exception], ...] = (
    AttributeError,
    KeyError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a JSON document of ours raises if it is cut, nested too deep, or of another form."""

_MOST_TABLE_BYTES = 1 << 32
_LONGEST_TEXT = 200
# Texts of errors may name objects by address, and records must not differ between runs.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class Boundary(ContextDecorator):
    """Turns whatever a block raises that only reads foreign bytes into the error of their file.

    The block contains the reader, and no code that uses what was read: errors of that are ours.
    Errors of ours pass unchanged, and so do those of the system, whose number says whether the file or
    the machine is the cause. Also a decorator of a function.

    Args:
        refuse: Makes the error of the file.
    """

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse

    def __enter__(self) -> None:
        """Enter the reader."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Raise the error of the file for what the reader raised."""
        # KeyboardInterrupt and its kind are no Exception.
        if not isinstance(error, Exception) or isinstance(error, MedassetsError):
            return
        # Decompressors raise OSError without a number for damaged content.
        if isinstance(error, OSError) and error.errno is not None:
            return
        raise self._refuse(error, explain_failure(error)) from error


def rejecting_foreign() -> Boundary:
    """Return the boundary of a source file of samples.

    It raises SampleRejectedError: READER_FAILED, or OUT_OF_MEMORY.
    """
    return Boundary(_reject)


def refusing_foreign(name: Path | str) -> Boundary:
    """Return the boundary of a table or document that a whole dataset depends on.

    It raises CatalogError.

    Args:
        name: The file, as messages name it.
    """
    return Boundary(lambda _, what: CatalogError(f"{name}: {what}"))


def iter_guarded(pieces: Iterable[_T], refuse: Refuse) -> Iterator[_T]:
    """Yield what a reader yields; only the reader is inside the boundary, not its user."""
    iterator = iter(pieces)
    while True:
        with Boundary(refuse):
            try:
                piece = next(iterator)
            except StopIteration:
                return
        yield piece


def explain_failure(error: Exception) -> str:
    """Return what a reader raised: class, function and text; the same in every run."""
    if isinstance(error, MemoryError):
        return "reading it takes more memory than the machine has (MemoryError)"
    text = " ".join(_ADDRESS.sub("", str(error)).split())
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."
    said = f": {shown.encode('utf-8', 'backslashreplace').decode()}" if shown else ""
    return f"it cannot be read ({type(error).__name__} in {_find_function(error)}{said})"


def open_foreign(path: Path) -> io.FileIO:
    """Open a file that others made, without a buffer; a pipe or device of its name never blocks.

    Raises:
        OSError: If it cannot be opened, or is not a regular file.
    """
    return io.FileIO(open_foreign_fd(path), "rb")


def open_foreign_fd(path: Path | str) -> int:
    """Return a descriptor of such a file; see `open_foreign`."""
    return open_regular_fd(path)


def read_table(path: Path) -> bytes:
    """Return the content of a table that others made, which fits the memory of the machine.

    Raises:
        OSError: If it cannot be read, or is not a regular file.
        CatalogError: If it is too large.
    """
    return read_foreign(path, most_bytes=most_table_bytes())


def most_table_bytes() -> int:
    """Return the size of the largest table that is read as a whole; usual ones have megabytes."""
    return min(_MOST_TABLE_BYTES, read_budget_bytes())


def read_foreign(path: Path, *, most_bytes: int) -> bytes:
    """Return the content of a small file that others made.

    Args:
        path: The file.
        most_bytes: A larger file is not read.

    Raises:
        OSError: If it cannot be read, or is not a regular file.
        CatalogError: If it is larger.
    """
    with open_foreign(path) as file:
        require_size(path, os.fstat(file.fileno()).st_size, most_bytes)
        return file.read()


def require_size(name: Path | str, num_bytes: int, most_bytes: int) -> None:
    """Refuse a file that is larger than its kind can be, or than memory allows.

    Raises:
        CatalogError: With both numbers.
    """
    if num_bytes > most_bytes:
        msg = f"{name}: too large: {num_bytes:,} bytes, expected at most {most_bytes:,}"
        raise CatalogError(msg)


def _reject(error: Exception, what: str) -> SampleRejectedError:
    is_memory = isinstance(error, MemoryError)
    reason = Reason.OUT_OF_MEMORY if is_memory else Reason.READER_FAILED
    return SampleRejectedError(reason, what)


def _find_function(error: BaseException) -> str:
    """Return the innermost function of the traceback, as `package.module.function`."""
    trace, name = error.__traceback__, "its reader"
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "?")
        name, trace = f"{module}.{trace.tb_frame.f_code.co_name}", trace.tb_next
    return name

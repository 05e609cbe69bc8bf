"""Streaming reader of the records of a large JSON file.

The file is an array or has one object per line; its first character decides. A bad line loses one
record. An array cannot be read beyond its first error.
"""

import codecs
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from medassets.errors import CatalogError
from medassets.storage.foreign_bytes import iter_guarded, open_foreign
from medassets.storage.formats.lfs_pointers import explain_pointer_file

_BLOCK_BYTES = 1 << 20
_MAX_RECORD_BYTES = 1 << 24
# A file that starts with so many invalid lines is another kind of file, perhaps a very large one.
_MAX_INVALID_LINES = 1000
_SPACE = re.compile(r"[ \t\n\r]*")
_MAY_CONTINUE = frozenset(["", *"0123456789.eE+-"])
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class UnreadableRecord:
    """Placeholder of a record that is not JSON.

    Attributes:
        detail: The error.
    """

    detail: str


def iter_json_records(path: Path) -> Iterator[tuple[int, object]]:
    """Yield every record with its row; only a part of the file is in memory.

    Bytes that are not UTF-8 become lone surrogates, so that they affect their own record only.

    Args:
        path: JSON array, or one object per line; with or without byte order mark.

    Yields:
        Row and value. The row is the position in the array, starting at 1, or the line number. A
        line that is not JSON is yielded as `UnreadableRecord`; empty lines are skipped.

    Raises:
        CatalogError: If the file is missing, empty, not JSON, or an array that is invalid or cut
            off; the message names file, line and remedy.
    """
    records = _iter_records(path)
    yield from iter_guarded(records, lambda _, what: CatalogError(f"{path}: {what}"))


def _iter_records(path: Path) -> Iterator[tuple[int, object]]:
    if (pointer := explain_pointer_file(path)) is not None:
        msg = f"{path}: {pointer}"
        raise CatalogError(msg)
    try:
        file = io.BufferedReader(open_foreign(path))
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); name an existing JSON file"
        raise CatalogError(msg) from error
    with file:
        first = _find_first_character(file, path)
        if first == b"[":
            yield from _iter_array(_ArrayText(file, path))
        else:
            yield from _iter_lines(file, path)


def _find_first_character(file: BinaryIO, path: Path) -> bytes:
    """Return the first non-white character, and seek past a byte order mark."""
    head = file.read(3)
    if head.startswith(_UTF16):
        msg = f"{path}, line 1: the file is UTF-16; save it as UTF-8"
        raise CatalogError(msg)
    begin = len(codecs.BOM_UTF8) if head == codecs.BOM_UTF8 else 0
    file.seek(begin)
    while block := file.read(_BLOCK_BYTES):
        if text := block.lstrip(b" \t\r\n"):
            file.seek(begin)
            return text[:1]
    msg = f"{path}, line 1: the file is empty; expected a JSON array, or one object per line"
    raise CatalogError(msg)


def _iter_lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, object]]:
    unjudged: list[tuple[int, object]] | None = []
    for number, line in enumerate(_iter_raw_lines(file), start=1):
        if line.isspace():
            continue
        value = _parse_line(line)
        if unjudged is None:
            yield number, value
            continue
        unjudged.append((number, value))
        if isinstance(value, dict):
            yield from unjudged
            unjudged = None
        elif len(unjudged) == _MAX_INVALID_LINES:
            break
    if unjudged:
        number, value = unjudged[0]
        why = f" ({value.detail})" if isinstance(value, UnreadableRecord) else ""
        msg = (
            f"{path}, line {number}: no JSON object{why}, nor do the lines after it hold one; "
            f"expected a JSON array, or one object per line"
        )
        raise CatalogError(msg)


def _iter_raw_lines(file: BinaryIO) -> Iterator[bytes]:
    while line := file.readline(_MAX_RECORD_BYTES):
        yield line
        while len(line) == _MAX_RECORD_BYTES and not line.endswith(b"\n"):
            line = file.readline(_MAX_RECORD_BYTES)


def _parse_line(line: bytes) -> object:
    if len(line) == _MAX_RECORD_BYTES:
        return UnreadableRecord(f"no JSON: longer than {_MAX_RECORD_BYTES:,} bytes")
    try:
        return _DECODER.decode(line.rstrip(b"\r\n").decode("utf-8", "surrogateescape"))
    except json.JSONDecodeError as error:
        return UnreadableRecord(f"no JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return UnreadableRecord(f"no JSON: {error}")


def _iter_array(text: "_ArrayText") -> Iterator[tuple[int, object]]:
    text.take("[")
    index = 0
    if text.peek() != "]":
        while True:
            index += 1
            yield index, text.take_value(index)
            if text.peek() != ",":
                break
            text.take(",")
    text.take("]", after=index)
    if text.peek():
        msg = f"text after the end of the array of {index:,} records"
        raise text.error(msg)


class _ArrayText:
    """The text of an array, a part of which is in memory."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
        self._text = ""
        self._position = 0
        self._lines_gone = 0
        self._ended = False

    def peek(self) -> str:
        """Return the next non-white character, or an empty string at the end."""
        while True:
            self._position = _SPACE.match(self._text, self._position).end()  # pyright: ignore[reportOptionalMemberAccess]
            if self._position < len(self._text):
                return self._text[self._position]
            if not self._read_on():
                return ""

    def take(self, character: str, *, after: int = 0) -> None:
        """Skip the next character, which must be this one."""
        if (found := self.peek()) != character:
            if not found:
                msg = f"the file ends within the array, after record {after:,}"
                raise self.error(msg)
            msg = f"expected ',' or ']' after record {after:,}, got {found!r}"
            raise self.error(msg)
        self._position += 1

    def take_value(self, index: int) -> object:
        """Read one JSON value."""
        if not self.peek():
            msg = f"the file ends within the array, after record {index - 1:,}"
            raise self.error(msg)
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._position)
            except json.JSONDecodeError as error:
                if self._is_too_long() or not self._read_on():
                    msg = f"record {index:,}: {error.msg}"
                    raise self.error(msg, at=error.pos) from error
            except (ValueError, RecursionError) as error:
                msg = f"record {index:,}: {error}"
                raise self.error(msg) from error
            else:
                # The number 12 may be the start of 12.5.
                is_whole = self._text[end : end + 1] not in _MAY_CONTINUE
                if is_whole or self._is_too_long() or not self._read_on():
                    self._position = end
                    return value

    def error(self, problem: str, *, at: int | None = None) -> CatalogError:
        """Return an error that names the line."""
        position = self._position if at is None else at
        line = self._lines_gone + self._text.count("\n", 0, position) + 1
        return CatalogError(
            f"{self._path}, line {line}: {problem}. A JSON array cannot be read beyond a mistake: "
            f"correct the file or download it again, or write one object per line, where a bad line costs "
            f"one record"
        )

    def _is_too_long(self) -> bool:
        return len(self._text) - self._position > _MAX_RECORD_BYTES

    def _read_on(self) -> bool:
        if self._ended:
            return False
        block = self._file.read(_BLOCK_BYTES)
        self._ended = not block
        more = self._decode(block, final=self._ended)
        self._lines_gone += self._text.count("\n", 0, self._position)
        self._text = self._text[self._position :] + more
        self._position = 0
        return True

"""Read `info.csv`: the file name of each video URL."""

import codecs
import csv
import html
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from medassets.errors import CatalogError
from medassets.storage.foreign_bytes import read_table, refusing_foreign
from medassets.storage.formats.missing import is_missing

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
"""Id of a YouTube video."""

_LINE_ENDS = re.compile(rb"\r\n|\n|\r")
_SCHEME = re.compile(r"(?:[a-z]+:)?//", re.IGNORECASE)
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_HOSTS = ("youtube.com", "youtube-nocookie.com")
_ID_FOLDERS = ("shorts", "embed", "live", "v")
_HEADER = ("url", "filename")
_SHOWN = 80


def read_info_table(path: Path) -> "InfoTable":
    """Read `info.csv`: columns `url` and `filename`, with or without a header.

    Every line is parsed separately, so that an open quote affects its own row only.

    Args:
        path: UTF-8, with or without byte order mark, any line ends.

    Raises:
        CatalogError: If the file is missing or UTF-16, or no row has a URL and a name.
    """
    content = _read_bytes(path)
    with refusing_foreign(path):
        return _parse_table(content, path)


def _parse_table(content: bytes, path: Path) -> "InfoTable":
    lines = _LINE_ENDS.split(content)
    filenames: dict[str, list[str]] = {}
    problems: list[InfoProblem] = []
    url_column, name_column, num_columns = 0, 1, 2
    for number, line in enumerate(lines, start=1):
        cells = _parse_line(line)
        if number == 1 and isinstance(cells, list) and (header := _find_columns(cells)):
            url_column, name_column, num_columns = *header, len(cells)
            continue
        if cells == []:
            continue
        answer = _read_cells(cells, url_column, name_column, num_columns)
        if isinstance(answer, str):
            problems.append(InfoProblem(number, answer, _guess_video(line, url_column)))
        elif answer[1] not in (names := filenames.setdefault(answer[0], [])):
            names.append(answer[1])
    if problems and not filenames:
        msg = (
            f"{path}, row {problems[0].row}: {problems[0].detail}; no other row has the URL of a "
            f"YouTube video and a file name, as in `url,filename`"
        )
        raise CatalogError(msg)
    return InfoTable({vid: tuple(names) for vid, names in filenames.items()}, tuple(problems))


def parse_video_url(url: str) -> str | None:
    """Return the id of a YouTube video, None if the URL has none.

    Args:
        url: Such as `https://www.youtube.com/watch?v=…`, `https://youtu.be/…`, `…/shorts/…` or
            `…/embed/…`; other parameters and a missing scheme are allowed.
    """
    # URLs copied from a web page may contain its entities.
    text = html.unescape(url.strip())
    try:
        parts = urlsplit(text if _SCHEME.match(text) else f"//{text}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return None
    folders = parts.path.strip("/").split("/")
    found = ""
    if host == "youtu.be":
        found = folders[0]
    elif any(host == known or host.endswith(f".{known}") for known in _HOSTS):
        if folders == ["watch"]:
            found = parse_qs(parts.query).get("v", [""])[0]
        elif len(folders) > 1 and folders[0] in _ID_FOLDERS:
            found = folders[1]
    return found if YOUTUBE_ID.fullmatch(found) else None


def _read_bytes(path: Path) -> bytes:
    try:
        content = read_table(path)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); name an existing table, or none"
        raise CatalogError(msg) from error
    if content.startswith(_UTF16):
        msg = f"{path}, row 1: the file is UTF-16; save it as UTF-8"
        raise CatalogError(msg)
    return content.removeprefix(codecs.BOM_UTF8)


def _parse_line(line: bytes) -> list[str] | str:
    """Return the cells, or a description of the error."""
    try:
        rows = list(csv.reader([line.decode()], strict=True))
    except UnicodeDecodeError as error:
        return f"byte {error.start} of the row is not UTF-8"
    except csv.Error as error:
        return f"not CSV ({error})"
    return rows[0] if rows and any(cell.strip() for cell in rows[0]) else []


def _find_columns(cells: list[str]) -> tuple[int, int] | None:
    names = [cell.strip().lower() for cell in cells]
    if any(names.count(name) != 1 for name in _HEADER):
        return None
    return names.index("url"), names.index("filename")


def _read_cells(
    cells: list[str] | str, url_column: int, name_column: int, num_columns: int
) -> tuple[str, str] | str:
    """Return id and file name, or a description of the error."""
    if isinstance(cells, str):
        return cells
    if len(cells) != num_columns:
        return (
            f"expected {num_columns} cells, got {len(cells)}; put a name that "
            f"contains a comma in quotes"
        )
    url, filename = cells[url_column], cells[name_column].strip()
    vid = parse_video_url(url)
    if vid is None:
        shown = url if len(url) <= _SHOWN else f"{url[:_SHOWN]}…"
        return f"{shown!r} is not the URL of a YouTube video"
    return "the file name is empty" if is_missing(filename) else (vid, filename)


def _guess_video(line: bytes, url_column: int) -> str | None:
    """Guess the video of an unusable row."""
    cells = line.decode(errors="replace").split(",")
    # An open quote or an unquoted comma moves the URL to another column.
    likely = [*cells[url_column : url_column + 1], *cells]
    found = (parse_video_url(cell.strip(' "')) for cell in likely)
    return next((vid for vid in found if vid is not None), None)


@dataclass(frozen=True)
class InfoProblem:
    """An unusable row of `info.csv`.

    Attributes:
        row: Number of the row, from 1.
        detail: Description of the error.
        vid: The video that the row probably names, None if unknown.
    """

    row: int
    detail: str
    vid: str | None = None


@dataclass(frozen=True)
class InfoTable:
    """Content of `info.csv`.

    Attributes:
        filenames: Video id -> possible names of its file, in order of the table; usually one.
        problems: Unusable rows.
    """

    filenames: Mapping[str, tuple[str, ...]] = field(repr=False)
    problems: tuple[InfoProblem, ...]

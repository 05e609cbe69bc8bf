"""Reading `info.csv`: ids out of addresses, and every bad row named."""
# ruff: noqa: RUF001 - names hold the characters that downloaders put into them.

import csv
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medassets.errors import CatalogError
from medassets.storage.formats.missing import is_missing
from medassets.video.catalog.info_table import parse_video_url, read_info_table

Write = Callable[[str | bytes], Path]
URL = "https://www.youtube.com/watch?v="


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Return a function that writes an `info.csv`."""

    def write_it(content: str | bytes) -> Path:
        path = tmp_path / "info.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write_it


@pytest.mark.parametrize(
    "url",
    [
        "https://www.youtube.com/watch?v=-QT_9NhQUsA",
        "http://youtube.com/watch?v=-QT_9NhQUsA",
        "https://m.youtube.com/watch?app=desktop&v=-QT_9NhQUsA&list=PL0&t=3s",
        "https://music.youtube.com/watch?v=-QT_9NhQUsA",
        "https://www.youtube.com/watch?t=3&amp;v=-QT_9NhQUsA",
        "https://www.youtube.com/watch/?v=-QT_9NhQUsA#t=3",
        "www.youtube.com/watch?v=-QT_9NhQUsA&url=https://x.org",
        "//youtube.com/watch?v=-QT_9NhQUsA",
        "HTTPS://WWW.YouTube.COM/watch?v=-QT_9NhQUsA",
        "  https://youtu.be/-QT_9NhQUsA?si=abc  ",
        "youtu.be/-QT_9NhQUsA/",
        "https://www.youtube.com/shorts/-QT_9NhQUsA?feature=share",
        "https://www.youtube.com/embed/-QT_9NhQUsA",
        "https://www.youtube-nocookie.com/embed/-QT_9NhQUsA?rel=0",
        "https://www.youtube.com/live/-QT_9NhQUsA",
        "https://www.youtube.com/v/-QT_9NhQUsA",
    ],
)
def test_the_id_of_a_video_is_found_in_its_address(url: str) -> None:
    assert parse_video_url(url) == "-QT_9NhQUsA"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "url",
        "-QT_9NhQUsA",
        "https://www.youtube.com/",
        "https://www.youtube.com/watch",
        "https://www.youtube.com/watch?v=",
        "https://www.youtube.com/watch?v=-QT_9NhQUs",
        "https://www.youtube.com/watch?v=-QT_9NhQUsAA",
        "https://www.youtube.com/watch?list=-QT_9NhQUsA",
        "https://www.youtube.com/@someone/videos",
        "https://www.youtube.com/playlist/-QT_9NhQUsA",
        "https://youtu.be/",
        "https://youtube.com.evil.org/watch?v=-QT_9NhQUsA",
        "https://notyoutube.com/watch?v=-QT_9NhQUsA",
        "https://vimeo.com/123456789012",
        "https://[youtube.com/watch?v=-QT_9NhQUsA",
    ],
)
def test_other_addresses_name_no_video(url: str) -> None:
    assert parse_video_url(url) is None


@pytest.mark.parametrize(
    "header", ["", "url,filename\n", "URL , Filename\r\n", '"url","filename"\n']
)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_table_is_read_with_or_without_header_and_mark(
    write: Write, header: str, mark: bytes, end: str
) -> None:
    rows = f'{URL}aaaaaaaaaaa,Ünïcode？.mp4{end}{end}{URL}bbbbbbbbbbb,"Tools, ""best"".mp4"'
    table = read_info_table(write(mark + header.encode() + rows.encode()))
    assert table.filenames == {
        "aaaaaaaaaaa": ("Ünïcode？.mp4",),
        "bbbbbbbbbbb": ('Tools, "best".mp4',),
    }
    assert table.problems == ()


def test_columns_may_stand_anywhere_under_a_header(write: Write) -> None:
    table = read_info_table(write(f"title,filename,url\nT,a.mp4,{URL}aaaaaaaaaaa\n"))
    assert table.filenames == {"aaaaaaaaaaa": ("a.mp4",)}


def test_a_video_may_have_several_names_and_each_once(write: Write) -> None:
    names = ("a.mp4", "b.mp4", "a.mp4")
    table = read_info_table(write("".join(f"{URL}aaaaaaaaaaa,{name}\n" for name in names)))
    assert table.filenames == {"aaaaaaaaaaa": ("a.mp4", "b.mp4")}


BAD_ROWS = {
    "no comma": (b"lonely", "expected 2 cells, got 1"),
    "bare comma in a name": (
        f"{URL}ccccccccccc,Foo, bar.mp4".encode(),
        "got 3; put a name that contains",
    ),
    "no address": (b"hello,a.mp4", "'hello' is not the URL of a YouTube video"),
    "id too long": (f"{URL}cccccccccccc,a.mp4".encode(), "is not the URL of a YouTube video"),
    "no name": (f"{URL}ccccccccccc,  ".encode(), "the file name is empty"),
    "open quote": (f'{URL}ccccccccccc,"a.mp4'.encode(), "not CSV"),
    "text behind a quote": (f'{URL}ccccccccccc,"a"b.mp4'.encode(), "not CSV"),
    "not UTF-8": (f"{URL}ccccccccccc,caf\u00e9.mp4".encode("latin-1"), "byte 47 of the row is not"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
@pytest.mark.parametrize("header", [b"", b"url,filename\n"])
def test_a_bad_row_costs_only_itself_and_is_named(write: Write, name: str, header: bytes) -> None:
    row, detail = BAD_ROWS[name]
    good = [f"{URL}{letter * 11},{letter}.mp4".encode() for letter in "ab"]
    table = read_info_table(write(header + b"\n".join([good[0], row, good[1]])))
    assert list(table.filenames) == ["aaaaaaaaaaa", "bbbbbbbbbbb"]
    assert [problem.row for problem in table.problems] == [3 if header else 2]
    assert detail in table.problems[0].detail


def test_line_ends_of_other_alphabets_end_no_row(write: Write) -> None:
    name = "a\u2028b\x85c\x0bd.mp4"
    assert read_info_table(write(f"{URL}aaaaaaaaaaa,{name}")).filenames == {"aaaaaaaaaaa": (name,)}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfeu\x00", r"info\.csv, row 1: the file is UTF-16; save it as UTF-8"),
        (f"{URL}aaaaaaaaaaa;a.mp4\n".encode(), r"info\.csv, row 1: expected 2 cells, got 1"),
        (b"url,filename\nx,y\n", r"info\.csv, row 2: 'x' is not the URL.*no other row"),
    ],
)
def test_a_table_without_any_video_is_refused(write: Write, content: bytes, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        read_info_table(write(content))


def test_a_table_that_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"info\.csv: cannot be read \(No such file"):
        read_info_table(tmp_path / "info.csv")


@pytest.mark.parametrize("content", ["", "url,filename\n"])
def test_an_empty_table_names_nothing(write: Write, content: str) -> None:
    assert read_info_table(write(content)).filenames == {}


_ids = st.text("aB0-_", min_size=11, max_size=11)
_names = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), max_size=20)


@given(
    rows=st.lists(
        st.tuples(_ids, _names.map(str.strip).filter(lambda name: not is_missing(name))), max_size=8
    ),
    header=st.booleans(),
)
def test_what_a_csv_writer_wrote_comes_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], *, header: bool
) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerows([("url", "filename")] * header)
    writer.writerows((f"https://youtu.be/{vid}", name) for vid, name in rows)
    path = tmp_path_factory.mktemp("info") / "info.csv"
    path.write_text(buffer.getvalue(), encoding="utf-8", newline="")
    expected: dict[str, list[str]] = {}
    for vid, name in rows:
        if name not in expected.setdefault(vid, []):
            expected[vid].append(name)
    table = read_info_table(path)
    assert {vid: list(names) for vid, names in table.filenames.items()} == expected
    assert table.problems == ()

"""Everything that tables lack is listed at once: files, and columns of those that exist."""

from medassets.volumes.catalog.table_check import NeededTable, list_missing

NEEDED = [
    NeededTable("meta.csv", ("VolumeName", "ZSpacing", "RescaleSlope"), note="or declare it"),
    NeededTable("reports.csv", ("VolumeName",)),
    NeededTable("no_chest.txt", note="may be empty"),
]


def test_nothing_is_missing_where_all_tables_have_their_columns() -> None:
    found = {
        "meta.csv": b"\xef\xbb\xbfRescaleSlope;ZSpacing;VolumeName\n1;2;a\n",
        "reports.csv": b"VolumeName",
        "no_chest.txt": b"",
    }
    assert list_missing(NEEDED, found) == []


def test_missing_files_and_columns_are_listed_with_their_remedies() -> None:
    assert list_missing(NEEDED, {"meta.csv": b"VolumeName,Other\n"}) == [
        "meta.csv, row 1, columns ZSpacing, RescaleSlope (or declare it)",
        "reports.csv, with columns VolumeName",
        "no_chest.txt (may be empty)",
    ]


def test_a_header_that_cannot_be_read_alone_is_left_to_the_reader_of_the_table() -> None:
    found = {"reports.csv": b'"Volume\nName",b\n'}
    assert list_missing(NEEDED[1:2], found) == []

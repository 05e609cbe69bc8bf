"""Cells of CT-RATE's tables: typed metadata, spacing pairs, sections of reports."""

import json

import pytest

from medassets.storage.formats.csv_tables import CsvTable, parse_csv
from medassets.volumes.catalog.ct_rate_cells import (
    clean_section,
    encode_metadata_rows,
    join_report,
    parse_spacing_pair,
)


def make_table(column: str, *cells: str) -> CsvTable:
    rows = [[f"train_{n}_a_1.nii.gz", cell] for n, cell in enumerate(cells)]
    numbers = list(range(2, len(rows) + 2))
    return CsvTable("metadata.csv", ("VolumeName", column), rows, numbers)


def encode(column: str, cell: str) -> object:
    (text,) = encode_metadata_rows(make_table(column, cell), without="VolumeName")
    return json.loads(text)[column]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("007", "007"),
        ("-1024", -1024),
        ("1e400", "1e400"),
        ("1.50", 1.5),
        ("1e3", 1000.0),
        ("nan", None),
        ("", None),
        ("['Br60f', '3']", "['Br60f', '3']"),
        ("[0.8, 1]", [0.8, 1]),
        ('say "Ø"\n', 'say "Ø"'),
        ("٣", "٣"),
    ],
)
def test_a_cell_is_typed_by_what_it_says(text: str, value: object) -> None:
    made = encode("FocalSpots", text)
    assert made == value
    assert type(made) is type(value)


@pytest.mark.parametrize("column", ["ConvolutionKernel", "StudyDate", "PatientAge"])
def test_a_column_of_texts_keeps_what_looks_like_a_number(column: str) -> None:
    assert encode(column, "60") == "60"
    assert encode(column, "") is None


def test_rows_have_sorted_keys_and_no_spaces_whatever_the_order_of_columns() -> None:
    one = parse_csv(b'VolumeName,b,a\nx,1,"[1, 2]"\ny,,t\n', "one.csv")
    other = parse_csv(b'a,VolumeName,b\n"[1, 2]",x,1\nt,y,\n', "other.csv")
    expected = ['{"a":[1,2],"b":1}', '{"a":"t","b":null}']
    for table in (one, other):
        assert encode_metadata_rows(table, without="VolumeName") == expected


def test_a_table_of_names_alone_has_empty_metadata() -> None:
    table = CsvTable("metadata.csv", ("VolumeName",), [["a"], ["b"]], [2, 3])
    assert encode_metadata_rows(table, without="VolumeName") == ["{}", "{}"]


def test_spacing_is_read_as_pairs_and_missing_where_it_is_not_given() -> None:
    cells = ["[0.75, 0.5]", "", "nan", "[NaN, 1]", "[1,2]", "[0.75, 0.5]"]
    assert [*map(parse_spacing_pair, cells)] == [
        (0.75, 0.5),
        (None, None),
        (None, None),
        (None, 1.0),
        (1.0, 2.0),
        (0.75, 0.5),
    ]


@pytest.mark.parametrize("cell", ["0.75", "[0.75]", "[0.75, x]", "[1, 2, 3]", "(1, 2)", "[1, 2"])
def test_a_cell_that_is_no_pair_is_refused(cell: str) -> None:
    with pytest.raises(ValueError, match="not a"):
        parse_spacing_pair(cell)


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("Not given.", None),
        (" NOT GIVEN ", None),
        ("", None),
        ("\n", None),
        (" Not given before. ", "Not given before."),
        ("Ø 42 mm\nno nodule", "Ø 42 mm\nno nodule"),
    ],
)
def test_a_section_that_says_nothing_is_missing(text: str, section: str | None) -> None:
    assert clean_section(text) == section


def test_a_report_joins_the_sections_that_are_there() -> None:
    assert join_report(["findings", None, "impressions"]) == "findings\nimpressions"
    assert join_report([None, "impressions"]) == "impressions"
    assert join_report([None, None]) is None
    assert join_report([]) is None

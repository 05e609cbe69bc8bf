"""CSV tables, valid and invalid."""

import pytest

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import parse_csv, parse_integer, parse_number

TABLE = b'\xef\xbb\xbfname, size,share\r\na,12,0.5\r\n\r\n"b,c",12.0,nan\r\n'


def test_a_table_is_read_by_column() -> None:
    table = parse_csv(TABLE, "t.csv")
    assert table.columns == ("name", "size", "share")
    assert table.column("name") == ["a", "b,c"]
    assert table.parse_cells("size", parse_integer, "an integer", {}) == [12, 12]
    assert table.parse_cells("share", parse_number, "a number", {}) == [0.5, None]
    assert table.row_numbers == [2, 4]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a,b\n1\n", r"t\.csv, row 2, column a: expected 2 cells as in the header, got 1"),
        (b"a,b\n1,2,3\n", r"t\.csv, row 2, column b: expected 2 cells .* got 3"),
        (b"a,a\n", r"t\.csv, row 1, column a: the name occurs 2 times"),
        (b'a\n"open\n', r"t\.csv, row 1 or after"),
        (b"a\n\xff\n", r"t\.csv, line 2: byte 2 is not UTF-8"),
        (b"", r"t\.csv, row 1: expected a header"),
    ],
)
def test_an_invalid_table_is_named_by_row_and_column(content: bytes, message: str) -> None:
    with pytest.raises(CatalogError, match=message):
        parse_csv(content, "t.csv")


def test_a_few_invalid_cells_are_named_and_left_out() -> None:
    table = parse_csv(b"n\n1\nx\n2.5\n", "t.csv")
    bad: dict[int, str] = {}
    assert table.parse_cells("n", parse_number, "a number", bad) == [1, None, 2.5]
    assert bad == {1: "t.csv, row 3, column n: expected a number, got 'x'"}


def test_a_column_whose_cells_are_mostly_invalid_is_refused() -> None:
    table = parse_csv(b"n\n1\nx\n2.5\n", "t.csv")
    with pytest.raises(CatalogError, match=r"row 3, column n: expected an integer, got 'x'"):
        table.parse_cells("n", parse_integer, "an integer", {})
    with pytest.raises(CatalogError, match=r"column m: missing; found n"):
        table.column("m")


@pytest.mark.parametrize("text", ["1_000", "inf", "0x10", "1,5", "\u0661"])
def test_other_spellings_of_numbers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a finite number"):
        parse_number(text)


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_a_table_with_another_delimiter_is_read(mark: str) -> None:
    content = f'A{mark}B\n1{mark}"x{mark}, y"\n2{mark}z\n'.encode()
    table = parse_csv(content, "t.csv")
    assert (table.columns, table.rows) == (("A", "B"), [["1", f"x{mark}, y"], ["2", "z"]])


def test_commas_in_a_quoted_name_are_no_delimiter() -> None:
    assert parse_csv(b'"A, left";B\n1;2\n', "t.csv").columns == ("A, left", "B")
    assert parse_csv(b'"A;B",C\n1,2\n', "t.csv").columns == ("A;B", "C")


def test_a_decimal_comma_is_named() -> None:
    table = parse_csv(b"A;B\n0,75;2\n", "t.csv")
    with pytest.raises(
        CatalogError, match=r"row 2, column A: expected a number with a decimal point"
    ):
        table.parse_cells("A", parse_number, "a number", {})


def test_a_cell_may_be_longer_than_python_allows_by_default() -> None:
    text = "long " * 40_000
    assert parse_csv(f"A,B\n1,{text}\n".encode(), "t.csv").rows[0][1] == text
    with pytest.raises(CatalogError, match="a cell has over 16,777,216 characters; is a quote not"):
        parse_csv(b'A,B\n1,"' + b"x" * (1 << 24) + b'xx"\n', "t.csv")


@pytest.mark.parametrize("word", ["NA", "N/A", "<NA>", "nan", "NaN", "None", "null", " ", ""])
def test_a_number_may_be_not_given_in_every_usual_word(word: str) -> None:
    table = parse_csv(f"A,B\n{word},2\n".encode(), "t.csv")
    assert table.parse_cells("A", parse_number, "a number", {}) == [None]


@pytest.mark.timeout(10)
def test_fifty_thousand_columns_are_read_at_once() -> None:
    names = [f"c{number}" for number in range(50_000)]
    table = parse_csv((",".join(names) + "\n" + ",".join("1" for _ in names)).encode(), "wide.csv")
    assert {cell for name in names for cell in table.column(name)} == {"1"}
    with pytest.raises(
        CatalogError, match=r"column VolumeName: missing; found c0, .* 49,960 more$"
    ):
        table.column_index("VolumeName")


@pytest.mark.timeout(10)
def test_a_number_of_thousands_of_digits_is_none_and_takes_no_time() -> None:
    for text in ("1" * 200_000, "1" * 200_000 + "x", "1." + "1" * 200_000 + "e"):
        with pytest.raises(ValueError, match="not a finite number"):
            parse_number(text)

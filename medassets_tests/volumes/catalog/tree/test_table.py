"""Tables of every format as text; pandas is the second opinion."""

import datetime as dt
import io
import sys
from collections.abc import Callable
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from medassets.errors import CatalogError
from medassets.volumes.catalog.tree.table import parse_table

CELLS = {
    "id": ["001", "002", "010"],
    "report": ["clear; no, nodule", 'says "big"\nand old', ""],
    "nodule": ["0", "1", "1"],
}
FRAME = pd.DataFrame(CELLS)


def encode_xlsx(frame: pd.DataFrame, **sheets: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    with pd.ExcelWriter(content, engine="openpyxl") as writer:
        for name, one in {"First": frame, **sheets}.items():
            one.to_excel(writer, sheet_name=name, index=False)
    return content.getvalue()


def encode_parquet(frame: pd.DataFrame) -> bytes:
    content = io.BytesIO()
    frame.to_parquet(content)
    return content.getvalue()


@pytest.mark.parametrize(
    ("name", "encode"),
    [
        ("t.csv", lambda: FRAME.to_csv(index=False).encode()),
        ("t2.csv", lambda: FRAME.to_csv(index=False, sep=";").encode("utf-8-sig")),
        ("t.txt", lambda: FRAME.to_csv(index=False, sep="\t").encode()),
        ("t.tsv", lambda: FRAME.to_csv(index=False, sep="\t").encode("utf-8-sig")),
        ("t.CSV", lambda: FRAME.to_csv(index=False, sep="|", lineterminator="\r\n").encode()),
        ("t.parquet", lambda: encode_parquet(FRAME)),
        ("t.xlsx", lambda: encode_xlsx(FRAME)),
    ],
)
def test_every_format_gives_the_same_cells(name: str, encode: Callable[[], bytes]) -> None:
    table = parse_table(encode(), name)
    assert table.columns == ("id", "report", "nodule")
    assert [tuple(row) for row in table.rows] == list(FRAME.itertuples(index=False, name=None))
    assert table.row_numbers == [2, 3, 4]


def test_a_comma_in_a_header_of_semicolons_parts_nothing() -> None:
    content = "\ufeffimage_id;age, years;split\ns0;64,5;train\ns1;7;val\n".encode()
    table = parse_table(content, "meta.csv")
    expected = pd.read_csv(io.BytesIO(content), sep=";", dtype=str)
    assert table.columns == tuple(expected.columns) == ("image_id", "age, years", "split")
    assert table.rows == expected.to_numpy().tolist()


def test_whole_numbers_have_no_decimal_point_and_missing_cells_are_empty() -> None:
    typed = pa.table(
        {
            "id": pa.array([7, None, 2**60], pa.int64()),
            "age": pa.array([64.0, 64.5, None]),
            "on": pa.array([dt.datetime(2020, 1, 2), None, dt.datetime(2020, 1, 2, 3)]),
            "yes": [True, False, None],
        }
    )
    content = io.BytesIO()
    parquet.write_table(typed, content)
    table = parse_table(content.getvalue(), "t.parquet")
    assert table.column("id") == ["7", "", str(2**60)]
    assert table.column("age") == ["64", "64.5", ""]
    assert table.column("on") == ["2020-01-02", "", "2020-01-02 03:00:00"]
    assert table.column("yes") == ["true", "false", ""]


def test_a_spreadsheet_keeps_leading_zeros_and_loses_empty_rows_and_columns() -> None:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    for row in (["id", "n", None], ["007", 7, None], [None, None, None], ["008", 8.5, None]):
        sheet.append(row)
    sheet.cell(9, 9).number_format = "0.00"
    content = io.BytesIO()
    book.save(content)
    table = parse_table(content.getvalue(), "t.xlsx")
    assert (table.columns, table.rows) == (("id", "n"), [["007", "7"], ["008", "8.5"]])
    assert table.row_numbers == [2, 4]


def test_a_sheet_is_named_where_several_hold_tables() -> None:
    content = encode_xlsx(FRAME, Second=FRAME.head(1), Empty=pd.DataFrame())
    with pytest.raises(CatalogError, match=r"t\.xlsx: expected one sheet .* 2 \(First, Second\)"):
        parse_table(content, "t.xlsx")
    assert len(parse_table(content, "t.xlsx", sheet="Second").rows) == 1
    with pytest.raises(CatalogError, match=r"no sheet 'Third'; it has First, Second, Empty"):
        parse_table(content, "t.xlsx", sheet="Third")


@pytest.mark.parametrize(
    ("content", "name", "match"),
    [
        (b"a,b\n1,2\n", "t.json", r"t\.json: expected a table that ends in \.csv"),
        (b"a,a\n1,2\n", "t.csv", "column a: the name occurs 2 times"),
        (b"a,b\n1\n", "t.csv", "row 2, column a: expected 2 cells"),
        (b"\xff\xfe", "t.csv", "is not UTF-8"),
        (b"", "t.csv", "expected a header"),
        (b"PK no zip", "t.xlsx", r"^t\.xlsx: it cannot be read"),
        (b"PAR1", "t.parquet", r"^t\.parquet: it cannot be read"),
        (
            encode_xlsx(FRAME.rename(columns={"nodule": "id"})),
            "t.xlsx",
            "column id: the name occurs 2",
        ),
    ],
)
def test_a_malformed_table_is_named(content: bytes, name: str, match: str) -> None:
    with pytest.raises(CatalogError, match=match):
        parse_table(content, name)


def test_only_a_spreadsheet_has_sheets() -> None:
    with pytest.raises(CatalogError, match=r"only \.xlsx has sheets"):
        parse_table(b"a\n", "t.csv", sheet="S")


def test_a_spreadsheet_without_its_reader_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encode_xlsx(FRAME)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(CatalogError, match=r'takes openpyxl: `pip install "medassets\[xlsx\]"`'):
        parse_table(content, "t.xlsx")

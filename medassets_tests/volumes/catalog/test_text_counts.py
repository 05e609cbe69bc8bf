"""Samples with a report and with labels are counted in catalogs of tables and of tars."""

import pyarrow as pa

from medassets.volumes.catalog.text_counts import read_text_counts, store_text_counts


def test_usable_rows_with_a_report_and_any_label_are_counted() -> None:
    table = pa.table(
        {
            "excluded": [None, None, None, "bad_labels"],
            "report": ["a", None, "b", "c"],
            "labels": [[1.0, None], [None, None], None, [1.0, 1.0]],
        }
    )
    assert read_text_counts(store_text_counts(table)) == {"samples": 3, "report": 2, "labels": 1}
    assert read_text_counts(table) == {}


def test_members_of_tars_are_counted() -> None:
    table = pa.table(
        {
            "excluded": pa.nulls(2, pa.string()),
            "report": pa.nulls(2, pa.string()),
            "text_member": ["txt", None],
            "stored_labels": pa.array([None, "{}"]),
            "labels": [[1.0], [1.0]],
        }
    )
    assert read_text_counts(store_text_counts(table)) == {"samples": 2, "report": 1, "labels": 1}

"""Settings of a plan, in the metadata of its table."""

import pyarrow as pa

from medassets.shards.catalog.settings import read_settings, store_settings


def test_settings_come_back_and_other_metadata_stays() -> None:
    table = pa.table({"key": ["a"]}).replace_schema_metadata({b"other": b"1"})
    stored = store_settings(table, {"split_mode": "random", "seed": 3})
    assert read_settings(stored.schema) == {"split_mode": "random", "seed": 3}
    assert stored.schema.metadata[b"other"] == b"1"


def test_a_table_without_settings_has_none() -> None:
    assert read_settings(None) == read_settings(pa.table({"key": ["a"]}).schema) == {}

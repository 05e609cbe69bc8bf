"""What a refresh found is stored with the catalog and read back."""

import pyarrow as pa

from medassets.datasets.upstream.move import Move, Upstream, read_upstream, store_upstream


def test_what_was_found_comes_back_beside_other_metadata() -> None:
    found = Upstream(
        "new", Move(1, 2, 3, 4), Move(changed=1), repinned=5, updated=6, dropped=7, lost=("old",)
    )
    rows = store_upstream(pa.table({"key": ["a"]}, metadata={"other": "kept"}), found)
    assert read_upstream(rows.schema.metadata) == found
    assert rows.schema.metadata[b"other"] == b"kept"


def test_a_catalog_of_an_earlier_version_says_nothing() -> None:
    assert read_upstream(None) is None
    assert read_upstream({b"other": b"1"}) is None

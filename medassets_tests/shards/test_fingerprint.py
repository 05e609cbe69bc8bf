"""Fingerprints change with the content of rows and the declaration, and with nothing else."""

from pathlib import Path
from typing import Any

from medassets.samples import SourceItem
from medassets.shards.catalog.files import read_partition, read_plan, write_catalog
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.fingerprint import content_fingerprint, plan_fingerprint, rows_fingerprint
from medassets_tests.shards.catalog.catalog_rows import make_keys, make_rows


def test_a_digest_in_the_plan_is_that_of_the_rows_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(
        plan_catalog(make_rows(make_keys(5), size=[1.5] * 5), None, samples_per_shard=2), path
    )
    for key, digest in read_plan(path).digests.items():
        assert rows_fingerprint(read_partition(path, key)) == digest
    assert plan_fingerprint("spec", "rows") != plan_fingerprint("other", "rows")


def _make_item(**row: Any) -> SourceItem:
    return SourceItem("a", "train", "data/a.raw", "rev", {"key": "a", "size": 5, **row})


def test_place_and_notes_of_a_row_do_not_change_its_hash() -> None:
    plain = rows_fingerprint([_make_item()])
    noted = _make_item(row=17, matched_by="name", partition="train-000003", state="planned")
    assert rows_fingerprint([noted]) == plain
    assert rows_fingerprint([_make_item(size=6)]) != plain
    assert rows_fingerprint([_make_item(), _make_item()]) != plain


def test_size_and_time_of_a_file_change_the_plan_and_not_the_content() -> None:
    first, second = _make_item(num_bytes=1, mtime_ns=2), _make_item(num_bytes=1, mtime_ns=3)
    assert rows_fingerprint([first]) != rows_fingerprint([second])
    assert (
        content_fingerprint(first)
        == content_fingerprint(second)
        == content_fingerprint(_make_item())
    )
    assert content_fingerprint(first) != content_fingerprint(_make_item(size=6))

"""Fingerprints change with the content of rows and the declaration, and with nothing else."""

from pathlib import Path

from medassets.shards.catalog import (
    plan_catalog,
    read_partition,
    read_plan,
    write_catalog,
)
from medassets.shards.fingerprint import plan_fingerprint, rows_fingerprint
from medassets_tests.shards.catalog_rows import make_keys, make_rows


def test_a_digest_in_the_plan_is_that_of_the_rows_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "catalog.parquet"
    write_catalog(
        plan_catalog(make_rows(make_keys(5), size=[1.5] * 5), None, samples_per_shard=2), path
    )
    for key, digest in read_plan(path).digests.items():
        assert rows_fingerprint(read_partition(path, key)) == digest
    assert plan_fingerprint("spec", "rows") != plan_fingerprint("other", "rows")

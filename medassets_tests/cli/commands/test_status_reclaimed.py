"""`medassets status` of shards that are the only copy of their samples."""

from collections.abc import Callable
from typing import Any

from medassets_tests.cli.scans import KEYS, Scans

Medassets = Callable[..., Any]
DELETE = ("--delete-sources", "--yes", "--json")


def test_status_promises_no_build_of_a_shard_whose_sources_are_gone(
    scans: Scans, medassets: Medassets
) -> None:
    ran = medassets("reclaim", "scans", "--partitions", KEYS[0], *DELETE)
    assert ran.code == 0, ran.err
    shard = scans.shard(0).read_bytes()
    scans.shard(0).unlink()
    shown = medassets("status", "scans")
    assert shown.code == 1
    assert "makes" not in shown.out.replace("no build makes", "")
    assert f"no build makes them whole: {KEYS[0]}; restore shard and record" in shown.out
    scans.shard(1).unlink()
    shown = medassets("status", "scans")
    assert f"no build makes them whole: {KEYS[0]};" in shown.out
    assert "`medassets build scans` makes the others whole" in shown.out
    scans.shard(0).write_bytes(shard)
    assert "no build" not in medassets("status", "scans").out


def test_status_names_stale_shards_whose_sources_are_gone(
    scans: Scans, medassets: Medassets
) -> None:
    assert medassets("reclaim", "scans", "--partitions", KEYS[0], *DELETE).code == 0
    scans.declare(max_rounding_error=0.5)
    shown = medassets("status", "scans")
    assert f"no build makes them again: {KEYS[0]}; revert the change" in shown.out
    assert "`medassets build scans` makes the others whole" in shown.out

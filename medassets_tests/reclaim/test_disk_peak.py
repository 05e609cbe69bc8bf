"""The disk that sources and shards take at most, beside the files themselves."""

from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.refresh import draft_catalog
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import DiskSpaceError
from medassets.reclaim.claims import Others
from medassets.reclaim.disk_peak import PeakEstimate, check_peak, estimate_peak, require_peak
from medassets.specs import VolumeDatasetSpec
from medassets_tests.dicoms import write_series
from medassets_tests.reclaim.reclaiming import FIRST, KEYS, LAST, Made


def estimate(made: Made, *, reclaim: bool = True) -> PeakEstimate:
    workspace = made.open()
    table = workspace.read_catalog()
    assert table is not None
    return estimate_peak(workspace, table, reclaim=reclaim)


def source_bytes(made: Made, *keys: str) -> int:
    """Return the bytes of the sources of some shards."""
    studies = [study for key in keys for study in made.studies(key)]
    return sum(made.tree.place(study).stat().st_size for study in studies)


def tar_bytes(made: Made, *keys: str) -> int:
    return sum(made.shard(key).stat().st_size for key in keys)


def test_a_finished_build_only_gets_smaller(made: Made) -> None:
    sources, tars = source_bytes(made, *KEYS), tar_bytes(made, *KEYS)
    peak = estimate(made)
    assert (peak.source_bytes, peak.shard_bytes) == (sources, tars)
    assert (peak.peak_bytes, peak.end_bytes) == (sources + tars, tars)
    assert peak.needed_bytes == 0
    assert peak.fits


def test_sources_that_stay_are_part_of_the_end(made: Made) -> None:
    peak = estimate(made, reclaim=False)
    assert peak.end_bytes == peak.peak_bytes == source_bytes(made, *KEYS) + tar_bytes(made, *KEYS)


def test_deleted_sources_no_longer_count(made: Made) -> None:
    made.reclaim(FIRST)
    peak = estimate(made)
    assert peak.source_bytes == source_bytes(made, *KEYS[1:])
    assert peak.shard_bytes == tar_bytes(made, *KEYS)


def test_sources_of_whole_shards_make_room_for_a_missing_one(made: Made) -> None:
    freed = source_bytes(made, *KEYS[1:])
    made.shard(FIRST).unlink()
    together, kept = estimate(made), estimate(made, reclaim=False)
    new = kept.end_bytes - kept.source_bytes - tar_bytes(made, *KEYS[1:])
    assert kept.needed_bytes == new > 0
    assert together.same_disk
    assert together.needed_bytes == max(0, new - freed)


def test_a_source_that_is_gone_does_not_count(made: Made) -> None:
    missing = made.tree.place(made.studies(LAST)[0])
    size = missing.stat().st_size
    before = estimate(made)
    missing.unlink()
    assert before.source_bytes - estimate(made).source_bytes == size


def test_a_build_that_does_not_fit_is_refused_with_both_numbers(made: Made) -> None:
    peak = replace(estimate(made), needed_bytes=5_000, free_bytes=3_500)
    message = r"5,000 more bytes are needed at the peak, 3,500 are free\. Free 1,500 bytes"
    with pytest.raises(DiskSpaceError, match=message):
        require_peak(made.open(), peak)
    check_peak(made.open(), Others(()))


def test_series_count_with_all_their_files(tmp_path: Path) -> None:
    written = write_series(tmp_path / "source")
    spec = VolumeDatasetSpec(
        name="clinic", source="dicom", folder=str(tmp_path / "source"), splits=("train",)
    )
    workspace = open_workspace(open_kind(spec), data_root=str(tmp_path / "data"))
    table = draft_catalog(workspace).table
    peak = estimate_peak(workspace, table, reclaim=False)
    assert peak.source_bytes == sum(path.stat().st_size for path in written.paths)

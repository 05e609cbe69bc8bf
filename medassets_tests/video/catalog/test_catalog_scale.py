"""A tenth of CLIP4MC's clips: time and memory of a refresh, and what a partition reads."""

import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from benchmarks.clip_catalog import RefreshCost, measure_refresh
from medassets.shards.catalog.files import read_partition, read_plan
from medassets.shards.fingerprint import rows_fingerprint
from medassets_tests.clip_metadata import make_clip_metadata, make_empty_videos

NUM_CLIPS, NUM_VIDEOS = 130_000, 10_000


def _check(cost: RefreshCost) -> None:
    # A tenth of the budget of 1.3 million, twice over for a busy machine; libraries are 80 MB.
    assert cost.total_s < 36
    assert cost.peak_mb < 450
    assert cost.num_rows == NUM_CLIPS


def _bytes_read(path: Path, partition: str) -> int:
    def so_far() -> int:
        lines = Path("/proc/self/io").read_text().splitlines()
        return int(dict(line.split(": ") for line in lines)["rchar"])

    before = so_far()
    read_partition(path, partition)
    return so_far() - before


@pytest.mark.slow
def test_a_refresh_of_many_clips_is_quick_and_small(tmp_path: Path) -> None:
    metadata, catalog = tmp_path / "metadata.json", tmp_path / "catalog.parquet"
    vids = make_clip_metadata(metadata, num_clips=NUM_CLIPS, num_videos=NUM_VIDEOS, as_array=True)
    make_empty_videos(tmp_path / "videos", vids[::2])
    first = measure_refresh(metadata, tmp_path / "videos", catalog)
    _check(first)
    assert (first.num_clips, first.num_probed) == (NUM_CLIPS // 2, NUM_VIDEOS // 2)
    before = read_plan(catalog)

    make_empty_videos(tmp_path / "videos", vids)
    (tmp_path / "videos" / f"Let us play [{vids[0]}].mp4").unlink()
    grown = measure_refresh(metadata, tmp_path / "videos", catalog)
    _check(grown)
    # The clips of the video that is gone keep their places.
    assert grown.num_clips == NUM_CLIPS
    assert grown.num_probed == NUM_VIDEOS - 1
    after = read_plan(catalog)
    full = [key for key, count in before.partitions.items() if count == 512]
    assert len(full) > 100
    places = {key: [item.key for item in read_partition(catalog, key)] for key in full[::40]}
    again = measure_refresh(metadata, tmp_path / "videos", catalog)
    assert (again.num_probed, read_plan(catalog).version) == (0, after.version)

    footer = pq.ParquetFile(catalog).metadata
    for key, names in places.items():
        items = read_partition(catalog, key)
        assert [item.key for item in items] == names
        assert rows_fingerprint(items) == after.digests[key]
        starts = after.starts[key], after.starts[key] + after.partitions[key]
        ends = [
            0,
            *itertools.accumulate(
                footer.row_group(i).num_rows for i in range(footer.num_row_groups)
            ),
        ]
        group = max(i for i, end in enumerate(ends) if end <= starts[0])
        assert ends[group + 1] >= starts[1]
        cost = _bytes_read(catalog, key)
        assert cost < footer.serialized_size + footer.row_group(group).total_byte_size + 2**17

"""Build the catalog rows of a video dataset: records joined to files and their facts."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from medassets.storage.arrow import kernels, release_memory
from medassets.video.catalog.columns import (
    FILE_COLUMNS,
    RECORD_SCHEMA,
    VIDEO_ROW_SCHEMA,
    ClipColumns,
    Column,
    exclude,
    one_chunk,
)
from medassets.video.catalog.coverage import VideoCounts, with_video_counts
from medassets.video.catalog.found_files import find_files
from medassets.video.catalog.keys_and_splits import name_clips, number_values, split_videos
from medassets.video.catalog.probing import ProbeAll
from medassets.video.catalog.sources.base import VideoSource

_STRING = pa.string()


def read_video_rows(
    source: VideoSource,
    *,
    previous: pa.Table | None,
    split_mode: str,
    seed: int,
    probe_all: ProbeAll,
) -> pa.Table:
    """Match records to files: one row per record, in the order of shards.

    A record that cannot become a sample is kept, with its reason in `excluded` and an explanation
    with its row in `detail`.

    Args:
        source: Decides which files are read.
        previous: The last catalog; its unchanged files are not probed again.
        split_mode: `random`, `all_train` or `all_test`.
        seed: Seed of `random`.
        probe_all: Probes many files at once.

    Returns:
        Table with the columns of `VIDEO_ROW_SCHEMA`, and counts for `summarize_coverage`.

    Raises:
        CatalogError: If metadata, `info.csv` or the folder cannot be read; the message names the
            line.
    """
    columns = _read_records(source)
    # Temporary memory of each step is as large as the rows.
    release_memory()
    name_clips(columns)
    release_memory()
    counts = _join_files(columns, source, previous=previous, probe_all=probe_all)
    source.place_clips(columns)
    columns.split = _split(columns.vid, mode=split_mode, seed=seed)
    columns.revision = pa.nulls(len(columns.row), _STRING)
    release_memory()
    rows = with_video_counts(_lay_out(columns, source.spec.splits), counts)
    release_memory()
    return rows


def _read_records(source: VideoSource) -> ClipColumns:
    table = source.read_records()
    columns = ClipColumns(*table.select(RECORD_SCHEMA.names).columns)
    del table
    for name in RECORD_SCHEMA.names:
        # Many small pieces waste as much memory again; each column's are freed before the next.
        setattr(columns, name, one_chunk(columns.pop(name)))
    return columns


def _join_files(
    columns: ClipColumns,
    source: VideoSource,
    *,
    previous: pa.Table | None,
    probe_all: ProbeAll,
) -> VideoCounts:
    """Add the file of each record with its facts, and exclude records without a usable file."""
    found = find_files(columns, source, previous=previous, probe_all=probe_all)
    reason, sentence = (found.of_records(name) for name in ("reason", "sentence"))
    exclude(columns, kernels.is_valid(reason), reason=reason, sentence=[sentence])
    columns.path = kernels.fill_null(found.of_records("path"), "")
    for name, _ in FILE_COLUMNS:
        setattr(columns, name, found.of_records(name))
    return found.counts


def _split(vids: Column, *, mode: str, seed: int) -> pa.Array:
    codes, names = number_values(vids)
    # Number -1 selects the last.
    splits = split_videos([*names, None], mode=mode, seed=seed)
    return pa.array(splits, _STRING).take(pa.array(codes % len(splits)))


def _lay_out(columns: ClipColumns, splits: Sequence[str]) -> pa.Table:
    """Return the rows in the order of the plan: by split, clips before excluded rows, by key."""
    ranks = kernels.index_in(columns.split, pa.array(splits, _STRING)).to_numpy()
    is_excluded = kernels.is_valid(columns.excluded).to_numpy(zero_copy_only=False)
    by_key = kernels.array_sort_indices(columns.key).to_numpy()
    groups = (2 * ranks + is_excluded)[by_key]
    order = pa.array(by_key[np.argsort(groups, kind="stable")])
    # Column by column, freeing each old one at once: texts are large.
    taken = [one_chunk(columns.pop(name)).take(order) for name in VIDEO_ROW_SCHEMA.names]
    return pa.Table.from_arrays(taken, schema=VIDEO_ROW_SCHEMA)

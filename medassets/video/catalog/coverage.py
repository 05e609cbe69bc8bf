"""Count how many records of the metadata have a video, and why the others do not."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.storage.arrow import kernels
from medassets.storage.checksums import canonical_json
from medassets.storage.later_versions import take_fields

_KEY = b"medassets.videos"


def summarize_coverage(table: pa.Table) -> "Coverage":
    """Return the counts of a video dataset's rows or catalog.

    In a catalog that has grown, clips that metadata and files no longer contain keep their place
    and count as records, too.

    Args:
        table: Rows of `read_video_rows`, or a catalog made of them.

    Raises:
        CatalogError: If the table is neither.
    """
    metadata = table.schema.metadata or {}
    if _KEY not in metadata:
        msg = "catalog: contains no coverage counts of videos; refresh it"
        raise CatalogError(msg)
    videos = take_fields(VideoCounts, json.loads(metadata[_KEY]), "catalog")
    counts = kernels.value_counts(table["excluded"].drop_null()).to_pylist()
    excluded = dict(sorted((entry["values"], entry["counts"]) for entry in counts))
    return Coverage(
        num_records=table.num_rows,
        num_clips=table.num_rows - sum(excluded.values()),
        num_gone=table["row"].null_count,
        excluded=excluded,
        num_null_positions=excluded.get(str(Reason.NULL_POSITION), 0),
        num_duplicates=excluded.get(str(Reason.DUPLICATE_ROW), 0),
        videos=videos,
    )


def with_video_counts(rows: pa.Table, videos: "VideoCounts") -> pa.Table:
    """Return the same rows with counts of videos and files in the table's metadata."""
    metadata: Mapping[bytes, Any] = rows.schema.metadata or {}
    return rows.replace_schema_metadata({**metadata, _KEY: canonical_json(asdict(videos))})


@dataclass(frozen=True)
class VideoCounts:
    """How videos were matched to files.

    Attributes:
        num_named: Videos with a usable id in the metadata; with source `clips`, clip files.
        by_id: Those whose file was found by the id in its name.
        by_filename: By its name in `info.csv`.
        by_title: By its title, also where only case, punctuation or Unicode form differ.
        by_path: By its path (source `clips`).
        num_missing: Videos without a file.
        num_ambiguous: Videos with several files, or with a file that matches several videos.
        num_unusable: Videos whose file has an unusable name.
        num_files: Videos in the folder.
        num_unnamed: Files that neither a record nor a row of `info.csv` names.
        unnamed: The first of them, by path.
        num_info_problems: Unusable rows of `info.csv`.
        info_problems: Descriptions of the first of them.
    """

    num_named: int
    by_id: int
    by_filename: int
    by_title: int
    by_path: int
    num_missing: int
    num_ambiguous: int
    num_unusable: int
    num_files: int
    num_unnamed: int
    unnamed: list[str]
    num_info_problems: int
    info_problems: list[str]


@dataclass(frozen=True)
class Coverage:
    """Counts of a video dataset.

    Attributes:
        num_records: Rows, one per record.
        num_clips: Rows that are not excluded.
        num_gone: Those of them that metadata and files no longer contain; a plan only grows.
        excluded: Reason -> number of rows.
        num_null_positions: Rows without a position.
        num_duplicates: Rows that repeat another one.
        videos: How videos were matched to files.
    """

    num_records: int
    num_clips: int
    num_gone: int
    excluded: dict[str, int]
    num_null_positions: int
    num_duplicates: int
    videos: VideoCounts

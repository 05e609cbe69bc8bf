"""How much of the metadata has a video, and why the rest has none."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from medassets.errors import CatalogError, Reason
from medassets.storage.arrow import kernels
from medassets.storage.checksums import canonical_json

_KEY = b"medassets.videos"


def summarize_coverage(table: pa.Table) -> "Coverage":
    """Return the figures of a video dataset's rows or catalog.

    In a catalog that has grown, clips that keep their place although metadata and files do not
    give them any more count as records, too.

    Args:
        table: Rows of `read_video_rows`, or a catalog made of them.

    Raises:
        CatalogError: If the table is none of them.
    """
    metadata = table.schema.metadata or {}
    if _KEY not in metadata:
        msg = "catalog: holds no figures of a folder of videos; refresh it"
        raise CatalogError(msg)
    videos = VideoCounts(**json.loads(metadata[_KEY]))
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
    """Return the same rows with what they cannot say of videos and files in their metadata."""
    metadata: Mapping[bytes, Any] = rows.schema.metadata or {}
    return rows.replace_schema_metadata({**metadata, _KEY: canonical_json(asdict(videos))})


@dataclass(frozen=True)
class VideoCounts:
    """What became of videos and files.

    Attributes:
        num_named: Videos that usable ids of the metadata name; with source `clips`, clip files.
        by_id: Those whose file was found by the id in its name.
        by_filename: By its name in `info.csv`.
        by_title: By its title.
        by_path: By its path (source `clips`).
        num_missing: Those without a file.
        num_ambiguous: Those with several, or with one that others share.
        num_unusable: Those whose file has a name that cannot be used.
        num_files: Videos in the folder.
        num_unnamed: Files that no record and no row of `info.csv` names.
        unnamed: The first of them, by path.
        num_info_problems: Rows of `info.csv` that say nothing usable.
        info_problems: The first of them, in words.
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
    """Figures of a video dataset.

    Attributes:
        num_records: Rows, one per record.
        num_clips: Those that can become samples, as far as the catalog knows.
        num_gone: Those of them that metadata and files do not give any more; a plan only grows.
        excluded: Reason -> number of rows.
        num_null_positions: Rows without a position.
        num_duplicates: Rows that repeat another one.
        videos: What became of videos and files.
    """

    num_records: int
    num_clips: int
    num_gone: int
    excluded: dict[str, int]
    num_null_positions: int
    num_duplicates: int
    videos: VideoCounts

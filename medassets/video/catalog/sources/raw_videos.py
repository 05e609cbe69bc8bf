"""Source `videos`: whole videos, and metadata that says where in them each clip is."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from medassets.video.catalog.columns import ClipColumns, Column
from medassets.video.catalog.info_table import InfoTable, read_info_table
from medassets.video.catalog.matching import Matching, match_videos
from medassets.video.catalog.metadata import read_metadata
from medassets.video.catalog.sources.base import VideoSource


@dataclass(frozen=True)
class RawVideos(VideoSource):
    """A folder of videos, CLIP4MC metadata, and an optional `info.csv`."""

    PATHS: ClassVar[tuple[str, ...]] = ("videos_dir", "info_csv", "metadata")
    NEEDED: ClassVar[tuple[str, ...]] = ("videos_dir", "metadata")
    can_cut_clips: ClassVar[bool] = True

    @property
    def folder(self) -> Path:
        """Folder of the videos."""
        return Path(self.spec.videos_dir).expanduser()

    def read_records(self) -> pa.Table:
        """Return the records of the metadata."""
        path = Path(self.spec.metadata).expanduser()
        return read_metadata(path, size_length=self.spec.size_length)

    def file_names(self, columns: ClipColumns) -> Column:
        """Return the ids of the videos."""
        return columns.vid

    def read_info(self) -> InfoTable:
        """Return the content of `info.csv`; empty if it is not declared."""
        if not self.spec.info_csv:
            return InfoTable({}, ())
        return read_info_table(Path(self.spec.info_csv).expanduser())

    def match(self, names: Sequence[str], paths: Collection[str], info: InfoTable) -> Matching:
        """Find videos by id, by file name in `info.csv`, or by title."""
        return match_videos(names, paths, info.filenames)

    def place_clips(self, columns: ClipColumns) -> None:
        """Set the declared position of each clip.

        Headers may state too short a duration, so where a video ends is found out by decoding.
        """
        columns.from_ms, columns.to_ms = columns.begin_ms, columns.end_ms

"""Source `clips`: one file per clip, cut earlier, listed in `text_video_pairs.json`."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from medassets.video.catalog.columns import ClipColumns, Column
from medassets.video.catalog.info_table import InfoTable
from medassets.video.catalog.matching import Matching, match_clips
from medassets.video.catalog.metadata import read_pairs
from medassets.video.catalog.sources.base import VideoSource


@dataclass(frozen=True)
class CutClips(VideoSource):
    """A folder of clips and their `text_video_pairs.json`."""

    PATHS: ClassVar[tuple[str, ...]] = ("clips_dir", "pairs_json")
    NEEDED: ClassVar[tuple[str, ...]] = PATHS
    can_cut_clips: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """Folder of the clips."""
        return Path(self.spec.clips_dir).expanduser()

    def read_records(self) -> pa.Table:
        """Return the records of `text_video_pairs.json`."""
        path = Path(self.spec.pairs_json).expanduser()
        return read_pairs(path, size_length=self.spec.size_length)

    def file_names(self, columns: ClipColumns) -> Column:
        """Return the paths of the clips."""
        return columns.clip_path

    def match(self, names: Sequence[str], paths: Collection[str], info: InfoTable) -> Matching:
        """Find clips by path."""
        return match_clips(names, paths)

    def place_clips(self, columns: ClipColumns) -> None:
        """Set the whole file as the position of each clip."""
        num_rows = len(columns.row)
        columns.from_ms = pa.repeat(pa.scalar(0, pa.int64()), num_rows)
        columns.to_ms = pa.nulls(num_rows, pa.int64())

"""Source `clips`: one file per clip, cut earlier, listed in `text_video_pairs.json` or in nothing."""

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from medassets.errors import Reason
from medassets.storage.arrow import kernels
from medassets.storage.paths import show_path
from medassets.video.catalog.columns import RECORD_SCHEMA, ClipColumns, Column
from medassets.video.catalog.info_table import InfoTable
from medassets.video.catalog.listing import list_videos, strip_extension
from medassets.video.catalog.matching import Matching, match_clips
from medassets.video.catalog.metadata import read_pairs
from medassets.video.catalog.sources.base import VideoSource

_LONGEST = 64
_OTHER = re.compile(r"[^A-Za-z0-9_-]", re.ASCII)


@dataclass(frozen=True)
class CutClips(VideoSource):
    """A folder of clips and their `text_video_pairs.json`; without it, every video is a clip without text."""

    PATHS: ClassVar[tuple[str, ...]] = ("clips_dir", "pairs_json")
    NEEDED: ClassVar[tuple[str, ...]] = ("clips_dir",)
    can_cut_clips: ClassVar[bool] = False

    @property
    def folder(self) -> Path:
        """Folder of the clips."""
        return Path(self.spec.clips_dir).expanduser()

    def read_records(self) -> pa.Table:
        """Return the records of `text_video_pairs.json`, or one for each file."""
        if not self.spec.pairs_json:
            return make_records(list_videos(self.folder))
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
        if not self.spec.pairs_json:
            columns.end_ms = kernels.fill_null(columns.duration_ms, 0)


def make_records(paths: Iterable[str]) -> pa.Table:
    """Return a record for each file of a folder: named like its path, from its begin, without text.

    Args:
        paths: Files, with forward slashes.

    Returns:
        Table with the columns of `RECORD_SCHEMA`; ends are unknown until the files are opened.
    """
    listed = list(paths)
    names = Counter(_plain(path) for path in listed)
    rows = [
        {"row": number, **_make_record(path, is_unique=names[_plain(path)] == 1)}
        for number, path in enumerate(listed, start=1)
    ]
    return pa.Table.from_pylist(rows, schema=RECORD_SCHEMA)


def _make_record(path: str, *, is_unique: bool) -> dict[str, Any]:
    if (shown := show_path(path)) != path:
        detail = f"{shown}: expected a name in UTF-8; rename the file"
        return {"excluded": str(Reason.BAD_NAME), "detail": detail}
    vid = name_video(path, is_unique=is_unique)
    return {"vid": vid, "clip_path": path, "begin_ms": 0, "transcript": ""}


def name_video(path: str, *, is_unique: bool) -> str:
    """Return the id of a video that only its path names: the path without ending, and `_` for what no id has.

    Args:
        path: Path inside the folder.
        is_unique: Whether no other path has the same id in this form; a hash tells them apart.
    """
    name = _plain(path)
    if is_unique and len(name) <= _LONGEST and name.strip("_"):
        return name
    digest = hashlib.sha256(path.encode()).hexdigest()[:10]
    return f"{name[:_LONGEST]}-{digest}"


def _plain(path: str) -> str:
    return _OTHER.sub("_", strip_extension(path))

"""What a kind of video source must be able to do."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from medassets.errors import SpecError
from medassets.specs import VideoClipDatasetSpec
from medassets.specs.checks import check_absolute
from medassets.video.catalog.columns import ClipColumns, Column
from medassets.video.catalog.info_table import InfoTable
from medassets.video.catalog.matching import Matching


@dataclass(frozen=True)
class VideoSource(ABC):
    """One declared source of videos: a table of records, and a folder with their files.

    A subclass in a file of its own and a line in `registry.VIDEO_SOURCES` make a source kind. Making
    an object does not touch the disk.

    Attributes:
        spec: The declaration.
    """

    PATHS: ClassVar[tuple[str, ...]]
    """Fields of the declaration that only this kind reads; each is a path."""

    NEEDED: ClassVar[tuple[str, ...]]
    """Those of them that must not be empty."""

    can_cut_clips: ClassVar[bool]
    """Whether clips can be cut from the files, because they are whole videos."""

    spec: VideoClipDatasetSpec

    def check(self) -> None:
        """Check the fields that this kind reads; nothing is opened.

        Raises:
            SpecError: Naming the first wrong field.
        """
        for field in self.NEEDED:
            if not getattr(self.spec, field):
                raise SpecError(field=field, what=f"source {self.spec.source} needs it")
        for field in self.PATHS:
            if path := getattr(self.spec, field):
                check_absolute(field, path)
        if self.spec.frames_from == "clips" and not (self.can_cut_clips and self.spec.keeps_clips):
            what = "clips needs source videos, and clips: reencode or copy"
            raise SpecError(field="frames_from", what=what)

    @property
    @abstractmethod
    def folder(self) -> Path:
        """Folder that holds the files."""

    @abstractmethod
    def read_records(self) -> pa.Table:
        """Return one row per record, with the columns of `RECORD_SCHEMA`.

        Raises:
            CatalogError: If the table of records cannot be read.
        """

    @abstractmethod
    def file_names(self, columns: ClipColumns) -> Column:
        """Return the column that names the file of each record."""

    def read_info(self) -> InfoTable:
        """Return the declared names of files; empty if the source has no such table.

        Raises:
            CatalogError: If the table is declared and cannot be read.
        """
        return InfoTable({}, ())

    @abstractmethod
    def match(self, names: Sequence[str], paths: Collection[str], info: InfoTable) -> Matching:
        """Find the file of each name.

        Args:
            names: Values of `file_names`.
            paths: Files of the folder, see `list_videos`.
            info: What `read_info` returned.
        """

    @abstractmethod
    def place_clips(self, columns: ClipColumns) -> None:
        """Set `from_ms` and `to_ms`, the position of each clip in its file.

        Args:
            columns: Records with the facts of their files.
        """

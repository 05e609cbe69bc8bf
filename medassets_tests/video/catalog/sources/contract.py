"""What every kind of video source must do."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from medassets.datasets.registry import list_field_rules
from medassets.errors import CatalogError, SpecError
from medassets.specs import VideoClipDatasetSpec
from medassets.video.catalog.columns import RECORD_SCHEMA, ClipColumns
from medassets.video.catalog.sources.base import VideoSource
from medassets.video.catalog.sources.registry import VIDEO_SOURCES, open_video_source


def make_columns(num_ms: int | None, begin_ms: int, end_ms: int) -> ClipColumns:
    """Return the columns of one record whose file has a known duration."""
    record = {"row": 7, "vid": "a", "clip_path": "b.mp4", "begin_ms": begin_ms, "end_ms": end_ms}
    table = pa.Table.from_pylist([record], schema=RECORD_SCHEMA)
    columns = ClipColumns(*table.columns)
    columns.duration_ms = pa.array([num_ms], pa.int64())
    return columns


class VideoSourceContract(ABC):
    """Tests of one kind; a subclass says how it is declared."""

    @abstractmethod
    def fields(self, folder: Path) -> dict[str, Any]:
        """Return the fields of a declaration whose files are all below a folder."""

    def open(self, folder: Path, **changes: Any) -> VideoSource:
        """Return the source, declared with some changes."""
        fields = {"name": "films", **self.fields(folder), **changes}
        return open_video_source(VideoClipDatasetSpec(**fields))

    def test_its_name_is_in_the_table(self) -> None:
        source = self.open(Path("/nowhere"))
        assert VIDEO_SOURCES[source.spec.source] is type(source)

    def test_a_declaration_is_checked_without_the_disk(self) -> None:
        self.open(Path("/nowhere")).check()

    def test_each_needed_path_is_asked_for_by_name(self) -> None:
        source = self.open(Path("/nowhere"))
        for field in source.NEEDED:
            with pytest.raises(SpecError, match=f"^{field}: source {source.spec.source} needs it"):
                self.open(Path("/nowhere"), **{field: ""}).check()

    def test_no_path_depends_on_the_working_directory(self) -> None:
        for field in self.open(Path("/nowhere")).PATHS:
            with pytest.raises(SpecError, match=f"^{field}: expected an absolute path"):
                self.open(Path("/nowhere"), **{field: "films/here"}).check()

    def test_its_paths_have_an_effect_with_no_other_source(self) -> None:
        source = self.open(Path("/nowhere"))
        rules = list_field_rules(VideoClipDatasetSpec)
        for field in source.PATHS:
            found = [rule.when for rule in rules if field in rule.fields]
            assert [list(when["source"]) for when in found] == [[source.spec.source]]

    def test_frames_from_clips_need_a_source_that_is_cut_and_clips_that_are_kept(self) -> None:
        for clips in ("off", "copy", "reencode"):
            source = self.open(Path("/nowhere"), frames_from="clips", clips=clips)
            if source.can_cut_clips and clips != "off":
                source.check()
                continue
            with pytest.raises(SpecError, match=r"^frames_from: clips needs source videos"):
                source.check()

    def test_a_folder_of_the_user_is_found_at_home(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/ada")
        source = self.open(Path("~/films"))
        assert source.folder.is_relative_to("/home/ada/films")

    def test_missing_records_are_an_error_of_the_catalog(self, tmp_path: Path) -> None:
        with pytest.raises(CatalogError, match=str(tmp_path)):
            self.open(tmp_path).read_records()

    def test_without_a_table_of_names_no_name_is_declared(self, tmp_path: Path) -> None:
        info = self.open(tmp_path).read_info()
        assert (info.filenames, info.problems) == ({}, ())

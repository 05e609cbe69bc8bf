"""What every source of videos checks in its declaration before it opens a file."""

from pathlib import Path
from typing import Any

import pytest

from medassets.errors import SpecError
from medassets.specs import VideoClipDatasetSpec
from medassets.video.catalog.sources.base import VideoSource
from medassets.video.catalog.sources.registry import open_video_source

VIDEOS = {"source": "videos", "videos_dir": "/nowhere/v", "metadata": "/nowhere/m.json"}
CLIPS = {"source": "clips", "clips_dir": "/nowhere/c", "pairs_json": "/nowhere/p.json"}


def open_source(fields: dict[str, Any], **changes: Any) -> VideoSource:
    return open_video_source(VideoClipDatasetSpec(name="v", **{**fields, **changes}))


@pytest.mark.parametrize("fields", [VIDEOS, CLIPS], ids=["videos", "clips"])
def test_a_check_opens_no_file(fields: dict[str, Any]) -> None:
    source = open_source(fields)
    source.check()
    assert not source.folder.exists()


@pytest.mark.parametrize(
    ("fields", "missing"),
    [(VIDEOS, "videos_dir"), (VIDEOS, "metadata"), (CLIPS, "clips_dir")],
)
def test_a_field_that_the_source_needs_is_named(fields: dict[str, Any], missing: str) -> None:
    with pytest.raises(SpecError, match=f"^{missing}: source {fields['source']} needs it"):
        open_source(fields, **{missing: ""}).check()


def test_a_relative_path_is_refused_even_in_a_field_that_may_be_empty() -> None:
    open_source(VIDEOS, info_csv="").check()
    with pytest.raises(SpecError, match=r"^info_csv: "):
        open_source(VIDEOS, info_csv="info.csv").check()


def test_frames_can_be_made_from_clips_only_where_clips_are_cut_and_kept() -> None:
    open_source(VIDEOS, frames_from="clips", clips="copy").check()
    for fields, clips in ((VIDEOS, "off"), (CLIPS, "copy")):
        with pytest.raises(SpecError, match=r"^frames_from: clips needs source videos"):
            open_source(fields, frames_from="clips", clips=clips).check()


def test_a_source_without_a_table_of_names_has_none(tmp_path: Path) -> None:
    info = open_source(CLIPS, clips_dir=str(tmp_path)).read_info()
    assert (dict(info.filenames), list(info.problems)) == ({}, [])

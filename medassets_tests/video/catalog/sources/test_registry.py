"""A kind of video source is one class and one line of a table."""

from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from medassets.assets.video import build_video_assets
from medassets.datasets.registry import open_kinds
from medassets.errors import SpecError
from medassets.specs import VideoClipDatasetSpec
from medassets.video.catalog.sources.raw_videos import RawVideos
from medassets.video.catalog.sources.registry import VIDEO_SOURCES, open_video_source


@dataclass(frozen=True)
class Tapes(RawVideos):
    """Videos in a folder `tapes`, which no clip can be cut from."""

    can_cut_clips = False

    @property
    def folder(self) -> Path:
        return super().folder / "tapes"


def declare(source: str) -> VideoClipDatasetSpec:
    return VideoClipDatasetSpec(
        name="films", source=source, videos_dir="/films", metadata="/films.json"
    )


def test_an_unknown_source_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SpecError, match=r"^source: expected one of videos, clips, got 'tapes'"):
        open_video_source(declare("tapes"))


def test_every_stage_follows_what_a_new_source_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VIDEO_SOURCES, "tapes", Tapes)
    assert list(open_kinds(declare("videos"))) == ["frames", "clips"]
    kinds = open_kinds(declare("tapes"))
    assert list(kinds) == ["frames"]
    assert kinds["frames"].open_source().folder == Path("/films/tapes")
    assets = build_video_assets(declare("tapes")).assets or ()
    keys = [key for asset in assets if isinstance(asset, dg.AssetsDefinition) for key in asset.keys]
    assert {key.path[-1] for key in keys} == {"catalog", "frames", "dataset_info", "summary"}

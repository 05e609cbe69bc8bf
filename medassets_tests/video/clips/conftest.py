"""A video to cut clips from."""

from pathlib import Path

import pytest

from medassets_tests.video.clips.shots import (
    write_video,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(scope="module")
def video(folder: Path) -> Path:
    """Sixty frames at 25 per second, with B-frames and a key frame every twelve."""
    return write_video(folder / "video.mp4", range(0, 2400, 40))

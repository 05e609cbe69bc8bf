"""Videos, a file that blocks readers, and an empty folder of videos."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from medassets.testing.videos import MadeVideo, VideoRecipe, make_video
from medassets_tests.shelf import Shelf


@pytest.fixture(scope="session")
def short_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of H.264; read only."""
    return make_video(tmp_path_factory.mktemp("videos") / "a.mp4", VideoRecipe(noise=30)).path


@pytest.fixture(scope="session")
def four_seconds(tmp_path_factory: pytest.TempPathFactory) -> MadeVideo:
    """Frames 0 to 119 at 30 frames per second; read only."""
    recipe = VideoRecipe(num_frames=120, width=320, height=192)
    return make_video(tmp_path_factory.mktemp("videos") / "a.mp4", recipe)


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Path]:
    """A file without any bytes to read: reading it blocks inside the library."""
    path = tmp_path / "never.mp4"
    os.mkfifo(path)
    fd = os.open(path, os.O_RDWR)
    yield path
    os.close(fd)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """An empty folder of videos."""
    (tmp_path / "videos").mkdir()
    return Shelf(tmp_path)

"""Datasets that grow, and a hub that serves one."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.location import Location

REPO_ID = "org/ct-small"


@pytest.fixture(scope="session")
def stages_of_growth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same repository twice: with three patients a split, and with two more."""
    folders = [tmp_path_factory.mktemp(f"patients_{n}") for n in (3, 5)]
    for folder, num_patients in zip(folders, (3, 5), strict=True):
        make_ct_rate_repository(folder, num_patients=num_patients, special_rows=False)
    return folders[0], folders[1]


@pytest.fixture
def growing(tmp_path: Path, stages_of_growth: tuple[Path, Path]) -> Path:
    """A repository of 7 volumes a split that `grow` can extend."""
    return Path(shutil.copytree(stages_of_growth[0], tmp_path / "growing"))


@pytest.fixture
def grow(growing: Path, stages_of_growth: tuple[Path, Path]) -> Callable[[], None]:
    """Return a function that adds 4 volumes a split, and touches no other volume."""

    def grow_it() -> None:
        for file in stages_of_growth[1].rglob("*"):
            target = growing / file.relative_to(stages_of_growth[1])
            if file.is_file() and (file.suffix != ".gz" or not target.exists()):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(file, target)

    return grow_it


@pytest.fixture
def hub(growing: Path) -> Iterator[LocalHub]:
    """The growing repository, served."""
    with LocalHub(growing, REPO_ID) as hub:
        yield hub


@pytest.fixture
def remote(hub: LocalHub, locate: Callable[..., Location]) -> Callable[..., Location]:
    """Return a function that declares the hub's repository."""

    def declare(**changes: object) -> Location:
        fields = {"source": "huggingface", "repo_id": REPO_ID, "endpoint": hub.endpoint}
        return locate(**fields, **changes)

    return declare

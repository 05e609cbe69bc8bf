"""Repositories that several modules of tests read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.testing.small_hub import BIG, REPO_ID


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRepository:
    """A repository of three patients per split."""
    return make_ct_rate_repository(tmp_path_factory.mktemp("repository"), seed=5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder of a repository of three files."""
    place = tmp_path / "repo"
    (place / "data" / "deep").mkdir(parents=True)
    (place / BIG).write_bytes(bytes(range(256)) * 50)
    (place / "data" / "small.txt").write_text("small")
    (place / "README.md").write_text("# read me")
    return place


@pytest.fixture
def hub(folder: Path) -> Iterator[LocalHub]:
    """A running hub of that repository."""
    with LocalHub(folder, REPO_ID) as hub:
        yield hub


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    """The real client of that hub, without a token."""
    return HfApi(hub.endpoint, token=False)

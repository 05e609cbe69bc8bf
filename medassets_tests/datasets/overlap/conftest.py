"""A dataset of four shards behind a local Hub, catalogued."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import open_workspace
from medassets.sources.hub import HubPolicy, HubSource
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.hub import LocalHub
from medassets_tests.conftest import TINY
from medassets_tests.datasets.overlap.serving import Served

REPO_ID = "org/ahead"


@pytest.fixture(scope="session")
def repository_ahead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven small volumes of one split."""
    folder = tmp_path_factory.mktemp("ahead")
    make_ct_rate_repository(folder, num_patients=3, splits=("train",), special_rows=False)
    return folder


@pytest.fixture
def open_served(home: Path, repository_ahead: Path) -> Iterator[Callable[[str], Served]]:
    """Return a function that opens the dataset in a home of a name."""
    with LocalHub(repository_ahead, REPO_ID) as hub:

        def open_it(name: str) -> Served:
            fields = {
                **TINY,
                "name": "ahead",
                "repo_id": REPO_ID,
                "endpoint": hub.endpoint,
                "splits": ("train",),
                "samples_per_shard": 2,
                "use_token": False,
            }
            spec = VolumeDatasetSpec(**fields)  # pyright: ignore[reportArgumentType]
            workspace = open_workspace(
                VolumeDataset(spec),
                data_root=str(home / name / "data"),
                staging_root=str(home / name / "staging"),
            )
            assert isinstance(workspace.source, HubSource)
            policy = HubPolicy(first_backoff_s=0.01, longest_backoff_s=0.05, max_attempts=3)
            workspace = replace(workspace, source=replace(workspace.source, policy=policy))
            publish_catalog(workspace.paths, draft_catalog(workspace))
            hub.forget_requests()
            return Served(hub, workspace)

        yield open_it


@pytest.fixture
def served(open_served: Callable[[str], Served]) -> Served:
    """The dataset in one home."""
    return open_served("one")

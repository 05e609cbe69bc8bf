"""Catalogued datasets for the tests of this folder."""

import pytest

from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.workspace import Workspace


@pytest.fixture
def planned(workspace: Workspace) -> Workspace:
    """A catalogued dataset."""
    publish_catalog(workspace.paths, draft_catalog(workspace))
    return workspace

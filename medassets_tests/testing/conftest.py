"""A synthetic repository that several modules of tests read."""

import pytest

from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRepository:
    """A repository of three patients per split."""
    return make_ct_rate_repository(tmp_path_factory.mktemp("repository"), seed=5)

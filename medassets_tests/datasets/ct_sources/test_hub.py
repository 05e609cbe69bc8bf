"""What every source on a hub checks and opens, without a request."""

import pytest

from medassets.datasets.ct_sources.hub import HUB_FIELDS, HubRepository
from medassets.datasets.ct_sources.registry import CT_SOURCES, open_volume_source
from medassets.errors import SpecError
from medassets_tests.declarations import make_spec


@pytest.mark.parametrize("layout", CT_SOURCES["huggingface"])
def test_every_layout_of_a_repository_checks_its_name_and_opens_it(layout: str) -> None:
    with pytest.raises(SpecError, match=r"^repo_id: expected '<org>/<name>' .* got 'no-org'"):
        open_volume_source(make_spec(repo_id="no-org", layout=layout)).check()
    fields = {"revision": "v2", "endpoint": "http://127.0.0.1:1", "use_token": False}
    source = open_volume_source(make_spec(layout=layout, **fields))
    assert isinstance(source, HubRepository)
    assert source.used_fields >= HUB_FIELDS
    assert (source.is_local, source.is_only_copy, source.has_file("gone")) == (False, False, True)
    files = source.open_files()
    assert (files.repo_id, files.revision, files.endpoint) == ("org/name", "v2", fields["endpoint"])
    assert files.token is False

"""The local hub, asked by the real client."""

from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, hf_hub_download

from medassets.testing.hub import LocalHub
from medassets_tests.testing.small_hub import BIG, REPO_ID, url_of


@pytest.mark.parametrize("path", [BIG, "data/small.txt"])
def test_client_downloads_equal_bytes(
    hub: LocalHub, folder: Path, tmp_path: Path, path: str
) -> None:
    out = hf_hub_download(
        REPO_ID, path, repo_type="dataset", local_dir=tmp_path / "out", endpoint=hub.endpoint
    )
    assert Path(out).read_bytes() == (folder / path).read_bytes()


def test_refresh_makes_a_new_commit_and_keeps_the_old(
    hub: LocalHub, api: HfApi, folder: Path
) -> None:
    old = hub.sha
    (folder / "new.txt").write_text("new")
    assert hub.refresh() != old
    assert api.dataset_info(REPO_ID).sha == hub.sha
    assert httpx2.get(url_of(hub, "new.txt")).text == "new"
    assert httpx2.get(url_of(hub, "new.txt", old)).status_code == 404
    assert httpx2.get(url_of(hub, "data/small.txt", old)).text == "small"

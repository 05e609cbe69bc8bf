"""The API of a local hub, as the real client understands it."""

import hashlib
from pathlib import Path

import pytest
from huggingface_hub import HfApi, get_hf_file_metadata
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from medassets.testing.hub import LocalHub
from medassets_tests.testing.small_hub import BIG, REPO_ID, url_of


def test_info_names_commit_and_files(hub: LocalHub, api: HfApi) -> None:
    info = api.dataset_info(REPO_ID)
    assert (info.id, info.sha) == (REPO_ID, hub.sha)
    assert info.siblings is not None
    assert [s.rfilename for s in info.siblings] == ["README.md", BIG, "data/small.txt"]
    assert api.dataset_info(REPO_ID, revision=hub.sha, expand=["sha"]).sha == hub.sha


def test_paths_info_has_digests_and_leaves_out_unknown_paths(
    hub: LocalHub, api: HfApi, folder: Path
) -> None:
    rows = api.get_paths_info(REPO_ID, [BIG, "data/small.txt", "none", "data"], repo_type="dataset")
    big, small, data = rows
    assert big.path == BIG
    assert big.lfs is not None  # pyright: ignore[reportAttributeAccessIssue]
    digest = hashlib.sha256((folder / BIG).read_bytes()).hexdigest()
    assert big.lfs.sha256 == digest  # pyright: ignore[reportAttributeAccessIssue]
    # The id git gives the five bytes "small".
    assert small.blob_id == hashlib.sha1(b"blob 5\0small").hexdigest()  # pyright: ignore[reportAttributeAccessIssue]
    assert (data.path, type(data).__name__) == ("data", "RepoFolder")


@pytest.mark.parametrize("page_size", [1000, 2])
def test_tree_is_listed_over_pages(folder: Path, page_size: int) -> None:
    with LocalHub(folder, REPO_ID, page_size=page_size) as hub:
        api = HfApi(hub.endpoint, token=False)
        rows = api.list_repo_tree(REPO_ID, repo_type="dataset", recursive=True)
        paths = [row.path for row in rows]
        assert paths == ["README.md", "data", "data/deep", BIG, "data/small.txt"]
        assert len(hub.requests("tree")) == (1 if page_size > 5 else 3)
        top = api.list_repo_tree(REPO_ID, "data", repo_type="dataset")
        assert [row.path for row in top] == ["data/deep", "data/small.txt"]


def test_head_describes_a_large_file_by_its_link(hub: LocalHub, folder: Path) -> None:
    found = get_hf_file_metadata(url_of(hub, BIG))
    assert found.commit_hash == hub.sha
    assert found.etag == hashlib.sha256((folder / BIG).read_bytes()).hexdigest()
    assert found.size == 12_800
    assert found.location.startswith(hub.cdn_url)


def test_head_describes_a_small_file_by_itself(hub: LocalHub) -> None:
    found = get_hf_file_metadata(url_of(hub, "data/small.txt"))
    assert (found.commit_hash, found.size) == (hub.sha, 5)


def test_errors_are_the_ones_the_client_knows(hub: LocalHub, api: HfApi) -> None:
    with pytest.raises(RemoteEntryNotFoundError, match="Entry Not Found"):
        get_hf_file_metadata(url_of(hub, "none.bin"))
    with pytest.raises(RevisionNotFoundError, match="Invalid rev id"):
        api.dataset_info(REPO_ID, revision="v9")
    with pytest.raises(RepositoryNotFoundError, match="Repository Not Found"):
        api.dataset_info("org/other")
    with pytest.raises(RemoteEntryNotFoundError, match="does not exist"):
        list(api.list_repo_tree(REPO_ID, "none", repo_type="dataset"))


def test_gate_and_tokens_are_told_apart(folder: Path) -> None:
    with LocalHub(folder, REPO_ID, token="hf_right", gated=True) as hub:
        api = HfApi(hub.endpoint, token=False)
        assert api.dataset_info(REPO_ID).gated == "manual"
        with pytest.raises(GatedRepoError, match="is restricted"):
            get_hf_file_metadata(url_of(hub, BIG))
        with pytest.raises(HfHubHTTPError, match="Invalid credentials"):
            get_hf_file_metadata(url_of(hub, BIG), token="hf_wrong")
        assert get_hf_file_metadata(url_of(hub, BIG), token="hf_right").size == 12_800


def test_refs_and_auth_check(hub: LocalHub, api: HfApi) -> None:
    refs = api.list_repo_refs(REPO_ID, repo_type="dataset")
    assert [(b.name, b.target_commit) for b in refs.branches] == [("main", hub.sha)]
    api.auth_check(REPO_ID, repo_type="dataset")

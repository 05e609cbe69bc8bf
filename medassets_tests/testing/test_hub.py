"""The local hub, asked by the real client: what it answers is what the client understands."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_download, hf_hub_url
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from medassets.testing.hub import LocalHub

REPO_ID = "org/small"
BIG = "data/deep/big file.bin"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "repo"
    (place / "data" / "deep").mkdir(parents=True)
    (place / BIG).write_bytes(bytes(range(256)) * 50)
    (place / "data" / "small.txt").write_text("small")
    (place / "README.md").write_text("# read me")
    return place


@pytest.fixture
def hub(folder: Path) -> Iterator[LocalHub]:
    with LocalHub(folder, REPO_ID) as hub:
        yield hub


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return HfApi(hub.endpoint, token=False)


def url_of(hub: LocalHub, path: str, revision: str = "main") -> str:
    return hf_hub_url(REPO_ID, path, repo_type="dataset", revision=revision, endpoint=hub.endpoint)


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


@pytest.mark.parametrize("path", [BIG, "data/small.txt"])
def test_client_downloads_equal_bytes(
    hub: LocalHub, folder: Path, tmp_path: Path, path: str
) -> None:
    out = hf_hub_download(
        REPO_ID, path, repo_type="dataset", local_dir=tmp_path / "out", endpoint=hub.endpoint
    )
    assert Path(out).read_bytes() == (folder / path).read_bytes()


def test_head_describes_a_large_file_by_its_link(hub: LocalHub, folder: Path) -> None:
    found = get_hf_file_metadata(url_of(hub, BIG))
    assert found.commit_hash == hub.sha
    assert found.etag == hashlib.sha256((folder / BIG).read_bytes()).hexdigest()
    assert found.size == 12_800
    assert found.location.startswith(hub.cdn_url)


def test_head_describes_a_small_file_by_itself(hub: LocalHub) -> None:
    found = get_hf_file_metadata(url_of(hub, "data/small.txt"))
    assert (found.commit_hash, found.size) == (hub.sha, 5)


@pytest.mark.parametrize(
    ("asked", "status", "length", "content_range"),
    [
        ("bytes=10-19", 206, 10, "bytes 10-19/12800"),
        ("bytes=12790-", 206, 10, "bytes 12790-12799/12800"),
        ("bytes=12790-99999", 206, 10, "bytes 12790-12799/12800"),
        ("bytes=12800-", 416, None, "bytes */12800"),
        (None, 200, 12_800, None),
    ],
)
def test_ranges(
    hub: LocalHub,
    folder: Path,
    asked: str | None,
    status: int,
    length: int | None,
    content_range: str | None,
) -> None:
    headers = {"Range": asked} if asked else {}
    got = httpx2.get(url_of(hub, BIG), headers=headers, follow_redirects=True)
    assert (got.status_code, got.headers.get("content-range")) == (status, content_range)
    if length is not None:
        start = int(asked[6:].split("-")[0]) if asked else 0
        assert got.content == (folder / BIG).read_bytes()[start : start + length]


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


def test_equal_folders_have_equal_commits(hub: LocalHub, folder: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    for place in sorted(folder.rglob("*")):
        if place.is_file():
            copy = twin / place.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(place.read_bytes())
    assert LocalHub(twin, REPO_ID).sha == hub.sha


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


def test_faults_are_counted_by_path_and_attempt(hub: LocalHub) -> None:
    hub.fail("unavailable", "data/*", skip=1, times=2)
    small, readme = url_of(hub, "data/small.txt"), url_of(hub, "README.md")
    assert [httpx2.get(small).status_code for _ in range(4)] == [200, 503, 503, 200]
    assert httpx2.get(readme).status_code == 200
    hub.fail("unavailable", times=None)
    hub.heal()
    assert httpx2.get(readme).status_code == 200


def test_requests_are_remembered(hub: LocalHub) -> None:
    httpx2.get(url_of(hub, BIG), headers={"Range": "bytes=7-"}, follow_redirects=True)
    assert [(r.server, r.place, r.path, r.range_start) for r in hub.requests()] == [
        ("hub", "resolve", BIG, 7),
        ("cdn", "body", BIG, 7),
    ]
    hub.forget_requests()
    assert hub.requests() == []


def test_unknown_fault_is_refused(hub: LocalHub) -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        hub.fail("explode")  # pyright: ignore[reportArgumentType]


def test_close_does_not_wait_for_stalled_clients(folder: Path) -> None:
    with LocalHub(folder, REPO_ID) as hub:
        hub.fail("stall", at_byte=10)
        with pytest.raises(httpx2.ReadTimeout):
            httpx2.get(url_of(hub, BIG), follow_redirects=True, timeout=0.2)

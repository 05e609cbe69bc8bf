import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    CatalogError,
    SourceUnavailableError,
)
from medassets.sources.hub import HubPolicy, HubSource
from medassets.testing.hub import LocalHub
from medassets.testing.hub_files import HubFile
from medassets_tests.sources.conftest import REPO_ID
from medassets_tests.sources.contract import SourceContract
from medassets_tests.sources.fetching import VOLUME


class TestHubSource(SourceContract):
    path, missing = VOLUME, "vol/none.nii.gz"

    @pytest.fixture
    def source(self, repo: Path, hub: LocalHub, quick_policy: HubPolicy) -> HubSource:
        self.repo, self.hub = repo, hub
        return HubSource(REPO_ID, endpoint=hub.endpoint, token=False, policy=quick_policy)

    def change(self) -> None:
        (self.repo / VOLUME).write_bytes(b"other bytes")
        self.hub.refresh()


def test_revision_becomes_a_commit_sha(hub: LocalHub, source: HubSource) -> None:
    assert replace(source, revision="main").resolve_revision() == hub.sha
    hub.forget_requests()
    assert source.resolve_revision() == hub.sha
    assert not hub.requests()


def test_describe_gives_size_and_digest_in_one_request(
    hub: LocalHub, source: HubSource, repo: Path
) -> None:
    paths = [VOLUME, "vol/b c.nii.gz", "table.csv", "vol/none.nii.gz", "vol"]
    files = source.describe(paths, revision=hub.sha)
    assert list(files) == paths[:3]
    assert files[VOLUME].num_bytes == 700_001
    assert files[VOLUME].sha256 is not None
    assert files[VOLUME].uri == f"hf://datasets/org/ct-small@{hub.sha}/{VOLUME}"
    assert files["table.csv"].sha256 is None
    assert files["table.csv"].git_sha1 is not None
    assert len(hub.requests("paths-info")) == 1


def test_describe_asks_in_chunks(hub: LocalHub, source: HubSource) -> None:
    few = replace(source, policy=replace(source.policy, paths_per_request=1))
    assert len(few.describe([VOLUME, "table.csv"], revision=None)) == 2
    assert len(hub.requests("paths-info")) == 2


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "a\nb"])
def test_paths_that_leave_the_repository_are_refused(source: HubSource, path: str) -> None:
    with pytest.raises(CatalogError, match="path in source"):
        source.describe([path], revision=None)


def test_table_is_read_whole(hub: LocalHub, source: HubSource, repo: Path) -> None:
    assert source.read_table("table.csv", revision=hub.sha) == (repo / "table.csv").read_bytes()


def test_missing_table_is_named(source: HubSource) -> None:
    with pytest.raises(CatalogError, match=r"none\.csv: no such table"):
        source.read_table("none.csv", revision=None)


def test_table_with_wrong_bytes_is_an_error(hub: LocalHub, source: HubSource) -> None:
    hub.fail("wrong_bytes", "table.csv", times=None)
    with pytest.raises(CatalogError, match="with other bytes than the promised"):
        source.read_table("table.csv", revision=None)


def test_cached_table_is_not_downloaded_again(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    cached = replace(source, cache_folder=tmp_path / "tables")
    first = cached.read_table("table.csv", revision=None)
    assert cached.read_table("table.csv", revision=None) == first
    assert len(hub.requests("body")) == 1


@pytest.mark.parametrize(
    "row",
    [
        {"size": -1},
        {"size": "1"},
        {"lfs": {"oid": "../../evil", "size": 1, "pointerSize": 1}},
        {"lfs": {"oid": "A" * 64, "size": 1, "pointerSize": 1}},
        {"oid": "no git blob id", "lfs": None},
        {"lfs": "no object"},
        {"type": 7, "path": None},
    ],
)
def test_hostile_descriptions_are_no_descriptions(
    source: HubSource, monkeypatch: pytest.MonkeyPatch, row: dict[str, object]
) -> None:
    real = HubFile.describe
    monkeypatch.setattr(HubFile, "describe", lambda file: real(file) | row)
    if "path" in row:
        assert source.describe([VOLUME], revision=None) == {}
    else:
        with pytest.raises(SourceUnavailableError, match=r"no usable size|not a list of files"):
            source.describe([VOLUME], revision=None)


def test_unasked_descriptions_are_passed_over(
    source: HubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = HubFile.describe
    monkeypatch.setattr(HubFile, "describe", lambda file: real(file) | {"path": "../evil"})
    assert source.describe([VOLUME], revision=None) == {}


def test_source_survives_pickling(source: HubSource) -> None:
    assert pickle.loads(pickle.dumps(source)) == source


def test_source_is_made_without_the_client_library() -> None:
    code = (
        "import sys; from medassets.sources.hub import HubSource; HubSource('a/b');"
        "assert not {'huggingface_hub', 'httpx2', 'dagster'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

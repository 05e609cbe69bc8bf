"""Commits of a folder, and the digests of their files."""

import hashlib
from pathlib import Path

import pytest

from medassets.testing.hub_files import read_commit
from medassets_tests.testing.small_hub import BIG


def test_equal_folders_have_equal_commits(folder: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin"
    for place in sorted(folder.rglob("*")):
        if place.is_file():
            copy = twin / place.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(place.read_bytes())
    sha = read_commit(folder, lfs_min_bytes=1024).sha
    assert read_commit(twin, lfs_min_bytes=1024).sha == sha
    (twin / "README.md").write_text("# read me!")
    assert read_commit(twin, lfs_min_bytes=1024).sha != sha


@pytest.mark.parametrize("path", [BIG, "data/small.txt"])
def test_a_file_has_the_digests_of_sha256_and_git(folder: Path, path: str) -> None:
    file = read_commit(folder, lfs_min_bytes=1024).files[path]
    content = (folder / path).read_bytes()
    assert file.sha256 == hashlib.sha256(content).hexdigest()
    assert file.git_sha1 == hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    assert (file.num_bytes, file.is_lfs) == (len(content), path == BIG)


def test_a_description_names_large_storage_for_large_files_only(folder: Path) -> None:
    files = read_commit(folder, lfs_min_bytes=12_800).files
    big, small = files[BIG].describe(), files["README.md"].describe()
    assert big["lfs"] == {"oid": files[BIG].sha256, "size": 12_800, "pointerSize": 134}
    assert "lfs" not in small
    assert (small["path"], small["size"]) == ("README.md", 9)
    assert not read_commit(folder, lfs_min_bytes=12_801).files[BIG].is_lfs


def test_a_folder_is_listed_with_or_without_what_is_below(folder: Path) -> None:
    commit = read_commit(folder, lfs_min_bytes=1024)
    paths = [row["path"] for row in commit.list_tree("", recursive=False) or ()]
    assert paths == ["README.md", "data"]
    paths = [row["path"] for row in commit.list_tree("data", recursive=True) or ()]
    assert paths == ["data/deep", BIG, "data/small.txt"]
    assert commit.list_tree("none", recursive=True) is None


def test_unchanged_files_are_not_hashed_again(folder: Path) -> None:
    known = read_commit(folder, lfs_min_bytes=1024)
    (folder / "README.md").write_text("# changed")
    commit = read_commit(folder, lfs_min_bytes=1024, known=known)
    assert commit.files[BIG] is known.files[BIG]
    assert commit.files["README.md"].sha256 == hashlib.sha256(b"# changed").hexdigest()

"""Files of a source without a table: links and pipes are judged, nothing is entered twice."""

import os
from pathlib import Path

import pytest

from medassets.errors import CatalogError, Reason
from medassets.samples import ListedFile, Listing
from medassets.sources.folder import FolderSource
from medassets.sources.hub import HubPolicy, HubSource
from medassets.sources.listing import has_ending, list_folder
from medassets.testing.hub import LocalHub
from medassets_tests.sources.conftest import REPO_ID

ENDINGS = (".nii", ".nii.gz")


def make(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    return folder


def find_problems(listing: Listing) -> dict[str, Reason]:
    return {file.path: file.problem[0] for file in listing.files if file.problem is not None}


def test_files_are_found_at_any_depth_and_others_are_counted(tmp_path: Path) -> None:
    make(tmp_path, "b.nii", "a/1/x.nii.gz", "a/UPPER.NII.GZ", "a/notes.txt", ".cache/y.nii")
    listing = FolderSource(tmp_path).list_files("", ENDINGS)
    assert [file.path for file in listing.files] == ["a/1/x.nii.gz", "a/UPPER.NII.GZ", "b.nii"]
    assert (listing.num_others, listing.hidden_folders) == (1, (".cache",))
    below = FolderSource(tmp_path).list_files("a/1", ENDINGS)
    assert [file.path for file in below.files] == ["a/1/x.nii.gz"]


def test_two_names_of_one_file_have_one_identity(tmp_path: Path) -> None:
    make(tmp_path, "a.nii", "c.nii")
    os.link(tmp_path / "a.nii", tmp_path / "b.nii")
    (tmp_path / "d.nii").symlink_to("c.nii")
    first, second, third, fourth = list_folder(tmp_path, "", ENDINGS).files
    assert first.identity == second.identity != third.identity == fourth.identity
    assert [file.is_link for file in (first, second, third, fourth)] == [False, False, False, True]


@pytest.mark.timeout(20)
def test_what_is_no_file_of_the_source_is_listed_with_the_reason(tmp_path: Path) -> None:
    top = make(tmp_path / "top", "whole.nii")
    make(tmp_path, "outside/z.nii")
    os.mkfifo(top / "pipe.nii")
    (top / "broken.nii").symlink_to("nowhere.nii")
    (top / "self.nii").symlink_to("self.nii")
    (top / "out.nii").symlink_to(tmp_path / "outside" / "z.nii")
    (top / "elsewhere").symlink_to(tmp_path / "outside")
    (top / "again").symlink_to(top)
    Path(os.fsdecode(os.fsencode(top) + b"/\xff.nii")).write_bytes(b"")
    assert find_problems(list_folder(top, "", ENDINGS)) == {
        "pipe.nii": Reason.UNREADABLE_SOURCE,
        "broken.nii": Reason.MISSING_SOURCE,
        "self.nii": Reason.UNREADABLE_SOURCE,
        "out.nii": Reason.MISSING_SOURCE,
        "elsewhere": Reason.MISSING_SOURCE,
        "\\udcff.nii": Reason.BAD_NAME,
    }


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="gone: the folder does not exist"):
        list_folder(tmp_path, "gone", ENDINGS)


@pytest.mark.parametrize(("name", "found"), [("a.NII", True), ("a.nii.gz", True), ("a.gz", False)])
def test_endings_match_in_any_case(name: str, found: bool) -> None:
    assert has_ending(name, ENDINGS) is found


def test_a_hub_lists_pages_of_files(tmp_path: Path, quick_policy: HubPolicy) -> None:
    make(
        tmp_path, *(f"ct/{n:03d}.nii.gz" for n in range(7)), "ct/a/b.nii", "README.md", ".git/c.nii"
    )
    with LocalHub(tmp_path, REPO_ID, page_size=3) as hub:
        source = HubSource(REPO_ID, endpoint=hub.endpoint, token=False, policy=quick_policy)
        listing = source.list_files("", ENDINGS, revision=hub.sha)
        assert listing.files == tuple(
            ListedFile(path) for path in [*(f"ct/{n:03d}.nii.gz" for n in range(7)), "ct/a/b.nii"]
        )
        assert (listing.num_others, listing.hidden_folders) == (1, (".git",))
        assert len(hub.requests("tree")) > 2
        below = source.list_files("ct/a", ENDINGS, revision=hub.sha)
        assert [file.path for file in below.files] == ["ct/a/b.nii"]

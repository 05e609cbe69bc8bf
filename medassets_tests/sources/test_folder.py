import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.sources.base import RemoteFile, Source
from medassets.sources.folder import FolderSource
from medassets.sources.staging import Staging
from medassets_tests.sources.contract import SourceContract

VOLUME = "vol/a.nii.gz"


class TestFolderSource(SourceContract):
    path, missing = VOLUME, "vol/none.nii.gz"

    @pytest.fixture
    def source(self, repo: Path) -> FolderSource:
        self.repo = repo
        return FolderSource(repo)

    def change(self) -> None:
        (self.repo / VOLUME).write_bytes(b"other bytes")


@pytest.fixture
def folder_source(repo: Path) -> FolderSource:
    return FolderSource(repo)


def test_files_are_described_by_size_and_mtime(folder_source: FolderSource, repo: Path) -> None:
    files = folder_source.describe([VOLUME, "vol/none.nii.gz", "vol"], revision=None)
    mtime_ns = (repo / VOLUME).stat().st_mtime_ns
    described = RemoteFile(VOLUME, 700_001, None, None, f"file:{VOLUME}", mtime_ns=mtime_ns)
    assert files == {VOLUME: described}


def test_file_is_hashed_and_left_where_it_is(
    folder_source: FolderSource, repo: Path, tmp_path: Path
) -> None:
    described = folder_source.describe([VOLUME], revision=None)[VOLUME]
    seen: list[int] = []
    staged = folder_source.fetch(described, tmp_path / "out", on_bytes=seen.append)
    assert staged.path == repo / VOLUME
    assert staged.sha256 == hashlib.sha256((repo / VOLUME).read_bytes()).hexdigest()
    assert (staged.num_bytes, staged.revision) == (700_001, None)
    assert seen == [700_001]
    assert not (tmp_path / "out").exists()


def test_names_in_records_say_nothing_of_this_machine(
    folder_source: FolderSource, repo: Path, tmp_path: Path
) -> None:
    described = folder_source.describe([VOLUME], revision=None)[VOLUME]
    staged = folder_source.fetch(described, tmp_path / "out")
    assert str(tmp_path) not in folder_source.uri + described.uri + staged.uri


def test_table_is_read(folder_source: FolderSource, repo: Path) -> None:
    assert folder_source.read_table("table.csv") == (repo / "table.csv").read_bytes()


def test_missing_table_is_named(folder_source: FolderSource) -> None:
    with pytest.raises(CatalogError, match=r"none\.csv: no such table in"):
        folder_source.read_table("none.csv")


def test_missing_file_rejects_the_sample(folder_source: FolderSource, tmp_path: Path) -> None:
    described = folder_source.describe([VOLUME], revision=None)[VOLUME]
    with pytest.raises(SampleRejectedError) as caught:
        folder_source.fetch(replace(described, path="vol/none.nii.gz"), tmp_path / "out")
    assert caught.value.reason is Reason.MISSING_UPSTREAM


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="does not exist or is not a folder"):
        FolderSource(tmp_path / "none").resolve_revision()


@pytest.mark.parametrize("path", ["../repo/table.csv", "/etc/passwd", "vol/../table.csv"])
def test_paths_out_of_the_folder_are_refused(folder_source: FolderSource, path: str) -> None:
    with pytest.raises(CatalogError, match="path in source"):
        folder_source.describe([path], revision=None)


def test_link_out_of_the_folder_is_not_followed_and_costs_only_itself(
    folder_source: FolderSource, repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("secret")
    (repo / "vol" / "link.nii.gz").symlink_to(tmp_path / "secret")
    files = folder_source.describe(["vol/link.nii.gz", VOLUME], revision=None)
    assert list(files) == [VOLUME]
    with pytest.raises(SampleRejectedError, match="a link that leads out of it"):
        folder_source.fetch(RemoteFile("vol/link.nii.gz", 6, None, None, "file:x"), tmp_path / "t")


def test_link_inside_the_folder_is_followed(folder_source: FolderSource, repo: Path) -> None:
    (repo / "vol" / "link.nii.gz").symlink_to("a.nii.gz")
    files = folder_source.describe(["vol/link.nii.gz"], revision=None)
    assert files["vol/link.nii.gz"].num_bytes == 700_001


def test_staging_passes_local_files_through(
    folder_source: FolderSource, repo: Path, tmp_path: Path
) -> None:
    source: Source = folder_source
    staging = Staging(tmp_path / "staging", budget_bytes=1)
    files = source.describe([VOLUME, "table.csv"], revision=None)
    gone = replace(files[VOLUME], path="vol/gone.nii.gz")
    staged = staging.stage(source, [*files.values(), gone])
    assert list(staged) == [VOLUME, "table.csv", "vol/gone.nii.gz"]
    assert isinstance(staged["vol/gone.nii.gz"], SampleRejectedError)
    staging.release(staged)
    assert (repo / VOLUME).exists()
    assert not staging.folder.exists()

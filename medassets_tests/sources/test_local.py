from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.ct_sources.dicom_files import DicomFiles
from medassets.errors import CatalogError, UsageError
from medassets.sources.folder import FolderSource
from medassets.sources.local import LocalSource
from medassets.sources.webdataset import WebDatasetSource

every_kind = pytest.mark.parametrize("make", [FolderSource, WebDatasetSource, DicomFiles])


@every_kind
def test_a_folder_is_read_in_place_under_a_name_without_paths(
    make: Callable[[Path], LocalSource], tmp_path: Path
) -> None:
    source = make(tmp_path)
    assert (source.uri, source.repo) == ("file:", "file:")
    assert source.is_local
    assert not source.pinned
    assert source.in_a_hurry() is source
    assert source.resolve_revision() is None
    assert not source.has_revision("main")


@every_kind
def test_asking_a_folder_for_a_revision_names_the_option(
    make: Callable[[Path], LocalSource], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--revision: file: has no revisions"):
        make(tmp_path).at_revision("main")
    with pytest.raises(UsageError, match="--revision: file: has no revisions"):
        make(tmp_path).check_readable("a", revision="main")


@every_kind
def test_a_folder_that_is_missing_is_named(
    make: Callable[[Path], LocalSource], tmp_path: Path
) -> None:
    with pytest.raises(CatalogError, match="none: the source folder does not exist"):
        make(tmp_path / "none").resolve_revision()

"""The workspace: catalog, staged files and folders of one dataset."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.workspace import Workspace, dataset_paths, open_workspace
from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import StagedFile
from medassets.testing.ct_rate import SyntheticRepository

KEY = "train-000000"


def test_opening_touches_no_disk(workspace: Workspace, home: Path) -> None:
    assert workspace.paths.folder == home / "data" / "tiny"
    assert workspace.staging.folder == home / "staging" / "tiny"
    assert not home.exists()


def test_folders_can_be_chosen(workspace: Workspace, tmp_path: Path) -> None:
    roots = {"data_root": str(tmp_path / "d"), "staging_root": str(tmp_path / "s")}
    opened = open_workspace(workspace.kind, **roots, num_downloads=7)
    assert opened.paths == dataset_paths("tiny", data_root=roots["data_root"])
    assert opened.paths.folder == tmp_path / "d" / "tiny"
    assert (opened.staging.folder, opened.num_downloads) == (tmp_path / "s" / "tiny", 7)


def test_a_catalog_that_does_not_exist_yet_is_told_with_the_command(workspace: Workspace) -> None:
    assert workspace.read_catalog() is None
    message = "tiny: there is no catalog yet; `medassets build tiny` makes it"
    for read in (workspace.read_plan, workspace.read_figures, workspace.read_exclusions):
        with pytest.raises(CatalogError, match=message):
            read()
    with pytest.raises(CatalogError, match=message):
        workspace.read_partition(KEY)


def test_every_reading_of_the_catalog_agrees(planned: Workspace) -> None:
    table, plan = planned.read_catalog(), planned.read_plan()
    assert table is not None
    assert planned.read_figures().schema.names == table.schema.names
    assert planned.read_figures().num_rows == 0
    assert planned.read_exclusions().equals(table.select(["excluded", "detail"]))
    places = table["partition"].to_pylist()
    for key, count in plan.partitions.items():
        assert len(planned.read_partition(key)) == count == places.count(key)


def test_files_of_a_local_source_are_staged_where_they_are(
    planned: Workspace, repository: SyntheticRepository
) -> None:
    items = planned.read_partition(KEY)
    staged = planned.stage(items)
    assert list(staged) == [item.key for item in items]
    for item in items:
        (path,) = planned.list_paths(item)
        content, file = (repository.folder / path).read_bytes(), staged[item.key]
        assert isinstance(file, StagedFile)
        assert (file.path, file.others) == (repository.folder / path, ())
        assert file.num_bytes == len(content)
        assert file.sha256 == hashlib.sha256(content).hexdigest()
    planned.release(items)
    assert all((repository.folder / item.path).exists() for item in items)


def test_a_file_that_is_missing_rejects_its_own_sample_only(
    open_folder: Callable[..., Workspace], own_repository: Path, planned: Workspace
) -> None:
    items = planned.read_partition(KEY)
    (own_repository / items[1].path).unlink()
    staged = open_folder(own_repository).stage(items)
    rejected = {key: one for key, one in staged.items() if isinstance(one, SampleRejectedError)}
    assert list(rejected) == [items[1].key]
    assert rejected[items[1].key].reason is Reason.MISSING_UPSTREAM
    assert items[1].path in rejected[items[1].key].detail

"""Fields that sources of CT volumes check; the message of a wrong one begins with its name."""

from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.ct_sources.base import check_inside, shorten_names
from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.datasets.registry import open_kind
from medassets.datasets.workspace import open_workspace
from medassets.errors import SpecError
from medassets_tests.declarations import NPZ, TARS, make_spec


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        (
            {"source": "ftp"},
            "^source: expected one of huggingface, folder, dicom, npz, webdataset, got 'ftp'",
        ),
        ({"source": "folder"}, "^folder: source folder needs the path"),
        ({"volumes_dir": "../{split}"}, "^volumes_dir: expected a path inside the source"),
        ({"volumes_dir": "/abs/{split}"}, "^volumes_dir: expected a path inside the source"),
        ({"volumes_dir": "dataset/fixed"}, r"^volumes_dir: expected a path with '\{split\}'"),
        ({"repo_id": "no-org"}, "^repo_id: expected '<org>/<name>'"),
        (NPZ | {"folder": ""}, "^folder: source npz needs"),
        (NPZ | {"meta_file": ""}, "^meta_file: source npz needs this CSV"),
        (NPZ | {"labels_file": "../labels.csv"}, "^labels_file: expected a path inside the source"),
        (NPZ | {"array_key": ""}, "^array_key: expected the name"),
        (NPZ | {"splits": ("train", "valid")}, r"^volumes_dir: several splits .* '\{split\}'"),
        (
            NPZ | {"splits": ("train", "valid"), "volumes_dir": "{split}"},
            r"^reports_file: several splits",
        ),
        (TARS | {"shards": ""}, "^shards: source webdataset needs"),
        (TARS | {"shards": "train/*.tar"}, "^shards: expected an absolute path, or a folder"),
        (
            TARS | {"splits": ("train", "valid"), "shards": "/data/*.tar"},
            "^shards: several splits",
        ),
    ],
)
def test_a_wrong_field_of_a_source_is_named(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        open_volume_source(make_spec(**changes)).check()


def test_arrays_are_declared_with_tables_or_a_pattern() -> None:
    for fields in (NPZ, TARS):
        workspace = open_workspace(open_kind(make_spec(**fields)))
        assert workspace.source_folder == Path("/data")


@pytest.mark.parametrize("path", ["", ".", "a//b", "a/./b", "a/..", "/a"])
def test_a_path_that_could_leave_the_source_is_rejected(path: str) -> None:
    with pytest.raises(SpecError, match=r"^volumes_dir: expected a path inside the source"):
        check_inside("volumes_dir", path)


def test_a_folder_may_end_with_a_slash() -> None:
    check_inside("volumes_dir", "dataset/{split}/")


@pytest.mark.parametrize(
    ("names", "expected"),
    [("", ""), ("a", "a"), ("abc", "a, b, c"), ("abcde", "a, b, c and 2 more")],
)
def test_three_names_are_shown_and_the_others_counted(names: str, expected: str) -> None:
    assert shorten_names(list(names)) == expected


def test_an_item_has_one_path_or_those_of_its_column() -> None:
    source = open_volume_source(make_spec(**NPZ))
    assert source.list_paths({"path": "a/1.npz"}) == ("a/1.npz",)
    assert source.folder == Path("/data")

"""Odd folders: what `medassets init` says of them, in seconds, and never something wrong."""

import json
import os
import time
from pathlib import Path

import pytest

from medassets.datasets.discovery.looking import propose
from medassets.datasets.discovery.proposal import Hints
from medassets.errors import UsageError
from medassets_tests.datasets.discovery.test_census import as_nobody, fill
from medassets_tests.trees import make_tree
from medassets_tests.volumes.files.images.test_reader import MHA, NRRD, VOXELS


def test_an_empty_folder_holds_no_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no files. Expected NIfTI, DICOM, MetaImage"):
        propose(tmp_path, Hints())


def test_a_mixed_folder_asks_which_files_are_meant(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii"])
    fill(tmp_path, "b.npz", "c.mp4")
    with pytest.raises(
        UsageError, match="1 NIfTI, MetaImage or NRRD file, 1 NPZ file, 1 video: several sources"
    ):
        propose(tmp_path, Hints())
    assert propose(tmp_path, Hints(sort="nifti")).fields["layout"] == "tree"
    with pytest.raises(UsageError, match="holds 1 NIfTI, MetaImage or NRRD file"):
        propose(tmp_path, Hints(sort="tar"))


def test_metaimage_and_nrrd_are_volumes_of_a_tree(tmp_path: Path) -> None:
    for name, text in (("a.mha", MHA), ("b.nrrd", NRRD)):
        (tmp_path / name).write_bytes(text.encode() + VOXELS)
    found = propose(tmp_path, Hints())
    assert found.title == f"tree of volumes: 2 files in {tmp_path}"
    assert found.fields["layout"] == "tree"
    assert found.facts[0].startswith("looked at 2 volumes: shape 2 x 2 x 2, stored as int16")


def test_folders_without_permission_are_named() -> None:
    with (
        as_nobody(unreadable="closed") as folder,
        pytest.raises(UsageError, match=r"folders that cannot be listed: .*/closed"),
    ):
        propose(folder, Hints())


def test_a_link_to_nothing_and_a_path_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(UsageError, match="is a link to something that does not exist"):
        propose(tmp_path / "link", Hints())
    with pytest.raises(UsageError, match="does not exist"):
        propose(tmp_path / "gone", Hints())


def test_linked_folders_are_a_doubt_and_alone_no_dataset(tmp_path: Path) -> None:
    make_tree(tmp_path / "far", ["b.nii"])
    top = tmp_path / "top"
    top.mkdir()
    (top / "linked").symlink_to(tmp_path / "far")
    with pytest.raises(UsageError, match=r"links to folders \(linked\), which are not entered"):
        propose(top, Hints())
    make_tree(top, ["a.nii"])
    assert any("links to folders" in doubt for doubt in propose(top, Hints()).doubts)
    (tmp_path / "way").symlink_to(top)
    assert propose(tmp_path / "way", Hints()).fields["folder"] == str(tmp_path / "way")


def test_one_file_is_no_folder(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii.gz"])
    with pytest.raises(UsageError, match=f"is one file, .*: medassets init {tmp_path}$"):
        propose(tmp_path / "a.nii.gz", Hints())


def test_tables_alone_are_no_dataset(tmp_path: Path) -> None:
    fill(tmp_path, "meta.csv", content=b"a,b\n1,2\n")
    with pytest.raises(UsageError, match=r"holds 1 table. Expected"):
        propose(tmp_path, Hints())


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    fill(tmp_path, "scans.zip")
    with pytest.raises(UsageError, match="unpack archives first"):
        propose(tmp_path, Hints())


def test_nan_spacing_is_a_doubt(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii"])
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[80:92] = b"\0\0\xc0\x7f" * 3
    content[252:256] = bytes(4)
    (tmp_path / "a.nii").write_bytes(content)
    doubts = propose(tmp_path, Hints()).doubts
    assert any("a.nii" in doubt for doubt in doubts), doubts


def test_volumes_of_ct_rate_without_tables_are_a_tree_that_says_so(tmp_path: Path) -> None:
    make_tree(tmp_path, ["dataset/train_fixed/train_1/train_1_a/train_1_a_1.nii.gz"])
    proposal = propose(tmp_path, Hints())
    assert proposal.fields["layout"] == "tree"
    assert "dataset/metadata/train_metadata.csv" in proposal.doubts[0]


def test_a_folder_of_many_names_takes_no_longer_than_its_limit(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii"])
    for number in range(3000):
        os.link(tmp_path / "a.nii", tmp_path / f"{number}.nii")
    start = time.monotonic()
    proposal = propose(tmp_path, Hints())
    assert time.monotonic() - start < 10
    assert "3,001 files" in proposal.title


@pytest.mark.parametrize("name", ["{{ x }}.tar", "b[1].tar"])
def test_a_tar_whose_name_looks_like_a_pattern_is_a_file(tmp_path: Path, name: str) -> None:
    fill(tmp_path, name, content=b"no tar")
    with pytest.raises(UsageError):
        propose(tmp_path / name, Hints())


def test_a_pattern_of_tars_needs_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="tars do not exist"):
        propose(tmp_path / "shard-{000..003}.tar", Hints())


def test_records_decide_what_videos_are(tmp_path: Path) -> None:
    fill(tmp_path, "videos/a.mp4")
    record = {"vid": "a", "transcript": "t", "begin": 0, "end": 1}
    (tmp_path / "meta.json").write_text(json.dumps([record]))
    assert "videos: 1 file" in propose(tmp_path, Hints()).title


def test_a_plan_is_tried_of_few_files_and_small_tables_only(tmp_path: Path) -> None:
    make_tree(tmp_path, ["a.nii"])
    fill(tmp_path, "t.csv", "r.json")
    assert propose(tmp_path, Hints()).is_small
    os.truncate(tmp_path / "r.json", 33 << 20)
    assert not propose(tmp_path, Hints()).is_small
    (tmp_path / "r.json").unlink()
    for number in range(5000):
        os.link(tmp_path / "a.nii", tmp_path / f"{number}.nii")
    assert not propose(tmp_path, Hints()).is_small

"""Git LFS pointers are named wherever a file is opened."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import CatalogError, DamagedTarError, Reason, SampleRejectedError
from medassets.storage.formats.csv_tables import parse_csv
from medassets.storage.formats.json_records import iter_json_records
from medassets.storage.formats.lfs_pointers import explain_pointer, explain_pointer_file
from medassets.storage.formats.npy import map_npy
from medassets.tars.scan import scan_tar
from medassets.video.files.containers import open_container
from medassets.volumes.files.array_files import open_npy_array, open_npz_array, read_npz_header
from medassets.volumes.files.nifti import open_nifti
from medassets_tests.shared_cases import find_case

POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 123456789\n"
)
OLD = POINTER.replace(b"git-lfs.github.com", b"hawser.github.com")
EXTENDED = POINTER.replace(b"oid ", b"ext-0-foo sha256:4d7a\noid ")
WINDOWS = POINTER.replace(b"\n", b"\r\n")


def enter(opened: Any) -> None:
    with opened:
        pass


OPENERS: dict[str, tuple[str, Callable[[Path], Any], type[Exception]]] = {
    "nifti, compressed": ("a.nii.gz", lambda p: enter(open_nifti(p)), SampleRejectedError),
    "nifti, plain": ("a.nii", lambda p: enter(open_nifti(p)), SampleRejectedError),
    "npz": ("a.npz", lambda p: enter(open_npz_array(p, "data")), SampleRejectedError),
    "header of npz": ("a.npz", lambda p: read_npz_header(p, "data"), SampleRejectedError),
    "npy": ("a.npy", lambda p: enter(open_npy_array(p)), SampleRejectedError),
    "mask": ("a.npy", map_npy, ValueError),
    "tar": ("a.tar", scan_tar, DamagedTarError),
    "table": ("a.csv", lambda p: parse_csv(p.read_bytes(), p.name), CatalogError),
    "json": ("a.json", lambda p: list(iter_json_records(p)), CatalogError),
    "video": ("a.mp4", open_container, SampleRejectedError),
}


@pytest.mark.parametrize("content", [POINTER, OLD, EXTENDED, WINDOWS, POINTER[:60]], ids=len)
@pytest.mark.parametrize("kind", OPENERS)
def test_a_pointer_is_named_with_the_remedy(kind: str, content: bytes, tmp_path: Path) -> None:
    name, opener, error = OPENERS[kind]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(error, match=r"a Git LFS pointer.*run `git lfs pull`") as caught:
        opener(path)
    if isinstance(caught.value, SampleRejectedError):
        assert caught.value.reason is Reason.LFS_POINTER


def test_the_size_of_the_file_is_told() -> None:
    told = explain_pointer(POINTER)
    assert told is not None
    assert told.startswith("a Git LFS pointer of a file of 123,456,789 bytes, not the file")


@pytest.mark.parametrize("content", [b"", b"version 1.0\n", b"\x1f\x8b\x08", b"VolumeName,A\n"])
def test_other_files_are_no_pointers(content: bytes, tmp_path: Path) -> None:
    assert explain_pointer(content) is None
    (tmp_path / "a").write_bytes(content)
    assert explain_pointer_file(tmp_path / "a") is None
    assert explain_pointer_file(tmp_path / "missing") is None


def test_the_shared_pointer_is_named() -> None:
    path = find_case("headers/lfs_pointer.nii.gz")
    with pytest.raises(SampleRejectedError, match="lfs_pointer: a Git LFS pointer"):
        enter(open_nifti(path))

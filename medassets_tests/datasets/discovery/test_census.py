import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from medassets.datasets.discovery.census import Clock, spread, take_census
from medassets.errors import UsageError


def fill(folder: Path, *names: str, content: bytes = b"") -> Path:
    for name in names:
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    return folder


@contextmanager
def as_nobody(*, unreadable: str) -> Iterator[Path]:
    """Yield a folder of which a part cannot be listed, also where tests run as root."""
    with TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        fill(folder, "a.nii", f"{unreadable}/b.nii" if unreadable else "b.nii")
        (folder / unreadable).chmod(0)
        root = not os.geteuid()
        try:
            if root:
                os.seteuid(65534)
            yield folder
        finally:
            if root:
                os.seteuid(0)
            (folder / unreadable).chmod(0o755)


def test_files_are_counted_by_their_endings_in_any_case(tmp_path: Path) -> None:
    fill(tmp_path, "a.NII.GZ", "b/c.nii", "d.npz", "e.Tar", "f.mp4", "g.csv", "h.tar.gz", "i")
    census = take_census(tmp_path)
    assert census.is_whole
    assert census.counts == {
        "nifti": 2, "npz": 1, "tar": 1, "video": 1, "table": 1, "archive": 1, "other": 1,
    }  # fmt: skip
    assert census.of("nifti") == ["a.NII.GZ", "b/c.nii"]


def test_files_without_an_ending_are_dicom_by_their_content(tmp_path: Path) -> None:
    fill(tmp_path, "IM0001", "CT.1.2.3", content=bytes(128) + b"DICM")
    assert take_census(tmp_path).counts == {"dicom": 2}


def test_hidden_names_and_links_to_folders_are_not_entered(tmp_path: Path) -> None:
    fill(tmp_path, "in/a.nii", ".git/b.nii", "in/._a.nii")
    (tmp_path / "in" / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.nii").symlink_to(tmp_path / "nothing")
    (tmp_path / "also.nii").symlink_to(tmp_path / "in" / "a.nii")
    census = take_census(tmp_path)
    assert census.of("nifti") == ["also.nii", "in/a.nii"]
    assert census.linked_folders == ["in/loop"]
    assert census.broken == ["gone.nii"]


def test_a_pipe_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.mkfifo(tmp_path / "pipe.nii")
    census = take_census(tmp_path)
    assert not census.counts
    assert census.broken == ["pipe", "pipe.nii"]


def test_a_large_folder_is_looked_at_for_the_time_that_is_given(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{number}.nii" for number in range(600)))
    census = take_census(tmp_path, seconds=0)
    assert not census.is_whole
    assert 0 < census.num_names < 600
    assert census.count_words("nifti").startswith("at least ")


def test_of_many_files_a_sample_of_all_folders_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.datasets.discovery.census._MOST_PATHS", 10)
    fill(tmp_path, *(f"{folder}/{n:02d}.nii" for folder in "abcd" for n in range(20)))
    census = take_census(tmp_path)
    assert census.counts["nifti"] == 80
    assert len(census.of("nifti")) <= 10
    assert {path[0] for path in census.of("nifti")} == set("abcd")
    assert census.is_sample("nifti")
    assert not census.is_sample("npz")


def test_folders_that_cannot_be_listed_are_named() -> None:
    with as_nobody(unreadable="closed") as folder:
        census = take_census(folder)
    assert census.of("nifti") == ["a.nii"]
    assert census.unreadable == [f"{folder}/closed (Permission denied)"]


def test_a_top_that_cannot_be_listed_is_an_error() -> None:
    with (
        as_nobody(unreadable="") as folder,
        pytest.raises(UsageError, match=r"cannot be listed .Permission denied"),
    ):
        take_census(folder)


def test_a_sample_reaches_from_the_first_to_the_last() -> None:
    assert spread([str(n) for n in range(11)], 3) == ["0", "5", "10"]
    assert spread(["a"], 3) == ["a"]
    assert spread([str(n) for n in range(9)], 1) == ["0"]


def test_a_clock_is_over_after_its_time() -> None:
    assert Clock(0).is_over
    assert not Clock(60).is_over


def test_files_of_old_are_dicom_and_lists_of_them_are_left_out(tmp_path: Path) -> None:
    old = b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + bytes(200)
    fill(tmp_path, "a/IM1", "a/IM2", content=old)
    fill(tmp_path, "DICOMDIR", "a/dicomdir", content=b"junk")
    census = take_census(tmp_path)
    assert census.of("dicom") == ["a/IM1", "a/IM2"]
    assert sum(census.counts.values()) == 2

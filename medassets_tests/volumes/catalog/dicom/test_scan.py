"""Files of a folder: which are DICOM, and what is read again."""

import os
from pathlib import Path

import pytest

from medassets.errors import Reason
from medassets.volumes.catalog.dicom import scan as scan_module
from medassets_tests.dicoms import write_series
from medassets_tests.volumes.catalog.dicom.scanning import scan


def test_other_and_hidden_files_are_counted(tmp_path: Path) -> None:
    write_series(tmp_path / "s", num_slices=2)
    (tmp_path / "s" / "notes.txt").write_text("nothing")
    (tmp_path / "s" / "._000").write_bytes(bytes(132))
    (tmp_path / ".trash").mkdir()
    found = scan(tmp_path)
    assert (len(found.files), found.num_others, found.num_hidden_folders) == (2, 2, 1)


def test_links_out_of_the_source_and_pipes_are_not_opened_or_named(tmp_path: Path) -> None:
    write_series(tmp_path / "s" / "7313742", num_slices=2)
    outside = tmp_path / "Duck"
    outside.write_bytes(b"x")
    (tmp_path / "s" / "Duck-link").symlink_to(outside)
    os.mkfifo(tmp_path / "s" / "Duck-pipe")
    (tmp_path / "s" / "second").symlink_to(tmp_path / "s" / "7313742" / "000")
    found = scan(tmp_path / "s")
    problems = {file.problem for file in found.files if file.problem}
    assert {reason for reason, _ in problems} == {Reason.MISSING_SOURCE, Reason.UNREADABLE_SOURCE}
    assert "Duck" not in str(problems) + repr(found.files)
    # A second name of a file is no second file.
    assert sum(file.header is not None for file in found.files) == 2


def test_only_changed_files_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write_series(tmp_path, num_slices=3)
    (tmp_path / "notes.txt").write_text("nothing")
    first = scan(tmp_path)
    opened: list[str] = []
    read = scan_module._read_header

    def count(place: Path) -> object:
        opened.append(place.name)
        return read(place)

    monkeypatch.setattr(scan_module, "_read_header", count)
    assert scan(tmp_path) == first
    assert opened == []
    content = written.paths[1].read_bytes()
    written.paths[1].write_bytes(content + bytes(2))
    assert len(scan(tmp_path).files) == 3
    assert opened == [written.paths[1].name]
    written.paths[1].unlink()
    assert len(scan(tmp_path).files) == 2


def test_damaged_headers_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(
        bytes(128) + b"DICM" + b"\x02\x00\x10\x00UI\xff\xff" + b"\xff" * 40
    )
    (file,) = scan(tmp_path).files
    found = file.problem or (file.header and file.header.pixel_problem)
    assert found


@pytest.mark.parametrize(
    ("name", "content", "is_damaged"),
    [
        ("7.dcm", b"", True),
        ("7.dcm", b"text", True),
        ("7.IMA", bytes(500), True),
        ("7", b"", True),
        ("1.2.840.7", bytes(100), True),
        ("7", bytes(128) + b"DI", True),
        ("README", b"text", False),
        ("VERSION", b"1", False),
        ("7.txt", b"", False),
        ("7.jpg", bytes(500), False),
    ],
)
def test_what_a_failed_copy_leaves_is_a_damaged_file(
    tmp_path: Path, name: str, content: bytes, is_damaged: bool
) -> None:
    (tmp_path / name).write_bytes(content)
    found = scan(tmp_path)
    reasons = [file.problem and file.problem[0] for file in found.files]
    assert reasons == ([Reason.CORRUPT_DICOM] if is_damaged else [])
    assert found.num_others == (0 if is_damaged else 1)


@pytest.mark.parametrize("name", ["DICOMDIR", "dicomdir"])
@pytest.mark.parametrize(
    "content", [b"", b"junk" * 99, bytes(4096), bytes(128) + b"DICM" + b"junk" * 99]
)
def test_a_list_of_files_is_never_a_series(tmp_path: Path, name: str, content: bytes) -> None:
    write_series(tmp_path / "s", num_slices=2)
    (tmp_path / name).write_bytes(content)
    found = scan(tmp_path)
    assert (len(found.files), found.num_others) == (2, 1)

"""Errors of the system: those of one file reject it, the others are raised."""

import errno
import os
from pathlib import Path

import pytest

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.unreadable import explain_unreadable, is_gone, unreadable_as_rejection

OF_ONE_FILE = ["EACCES", "EPERM", "EIO", "ESTALE", "ELOOP", "ENXIO", "EISDIR"]
OF_THE_MACHINE = ["ENOMEM", "EMFILE", "ENFILE", "ENOSPC", "EINTR"]


def make_error(name: str) -> OSError:
    number = getattr(errno, name)
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize("name", OF_ONE_FILE)
def test_an_error_of_one_file_rejects_it_with_the_words_of_the_system(name: str) -> None:
    rejection = explain_unreadable(make_error(name))
    assert rejection is not None
    assert rejection.reason is Reason.UNREADABLE_SOURCE
    assert os.strerror(getattr(errno, name)) in rejection.detail


@pytest.mark.parametrize("name", [*OF_THE_MACHINE, "ENOENT"])
def test_other_errors_are_raised_as_they_are(name: str) -> None:
    error = make_error(name)
    assert explain_unreadable(error) is None
    with pytest.raises(OSError, match=error.strerror) as caught, unreadable_as_rejection():
        raise error
    assert caught.value is error


def test_a_folder_in_place_of_a_file_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(SampleRejectedError, match="Is a directory"), unreadable_as_rejection():
        tmp_path.read_bytes()


def test_a_link_to_itself_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(SampleRejectedError, match="symbolic links"), unreadable_as_rejection():
        (tmp_path / "loop").read_bytes()


def test_only_what_has_no_name_any_more_is_gone(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    assert not is_gone(tmp_path / "file")
    assert not is_gone(tmp_path / "dangling")
    assert is_gone(tmp_path / "nowhere")
    assert is_gone(tmp_path / "file" / "below")


def test_a_name_that_the_system_cannot_look_up_is_not_gone(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert not is_gone(tmp_path / "loop" / "below")
    assert not is_gone(tmp_path / ("x" * 300))

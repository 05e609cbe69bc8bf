"""An incomplete download against hashlib, over several processes."""

import hashlib
from pathlib import Path

import pytest

from medassets.sources.base import RemoteFile
from medassets.sources.partial import PartialFile, open_partial, partial_path

CONTENT = bytes(range(256)) * 5
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_SHA1 = hashlib.sha1(b"blob 1280\0" + CONTENT).hexdigest()


def describe(*, num_bytes: int | None = 1280, sha256: str | None = SHA256) -> RemoteFile:
    git_sha1 = None if sha256 else GIT_SHA1
    return RemoteFile("a.gz", num_bytes, sha256, "r", "hf://a", git_sha1=git_sha1)


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["sha256", "git"])
def test_bytes_are_right_once_all_of_them_have_arrived(tmp_path: Path, sha256: str | None) -> None:
    with open_partial(tmp_path / "part", describe(sha256=sha256)) as part:
        for start in range(0, 1280, 300):
            assert not part.is_complete
            assert not part.is_right()
            assert part.append(CONTENT[start : start + 300])
        assert part.is_right()
        assert part.sha256 == SHA256
    assert (tmp_path / "part").read_bytes() == CONTENT


@pytest.mark.parametrize("sha256", [SHA256, None], ids=["sha256", "git"])
def test_one_wrong_byte_is_noticed(tmp_path: Path, sha256: str | None) -> None:
    with open_partial(tmp_path / "part", describe(sha256=sha256)) as part:
        part.append(CONTENT[:-1] + b"\0")
        assert part.is_complete
        assert not part.is_right()


def test_bytes_of_an_earlier_process_are_continued(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT[:500])
    seen: list[int] = []
    with open_partial(tmp_path / "part", describe(), on_bytes=seen.append) as part:
        assert part.num_bytes == part.best_bytes == 500
        part.append(CONTENT[500:])
        assert part.is_right()
    assert seen == [0, 780]


def test_more_bytes_than_the_file_has_are_discarded_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(CONTENT + b"!")
    with open_partial(tmp_path / "part", describe()) as part:
        assert part.num_bytes == 0
    assert (tmp_path / "part").read_bytes() == b""


def test_a_piece_that_is_too_long_is_not_written(tmp_path: Path) -> None:
    with open_partial(tmp_path / "part", describe()) as part:
        part.append(CONTENT[:1000])
        assert not part.append(CONTENT[:281])
        assert part.append(CONTENT[1000:])
        assert part.is_right()


def test_a_restart_forgets_the_digest_and_not_what_arrived(tmp_path: Path) -> None:
    seen: list[int] = []
    with open_partial(tmp_path / "part", describe(), on_bytes=seen.append) as part:
        part.append(b"wrong")
        part.restart()
        assert (part.num_bytes, part.best_bytes) == (0, 5)
        part.append(CONTENT)
        assert part.is_right()
    assert seen == [5, 1280]
    assert (tmp_path / "part").read_bytes() == CONTENT


def test_a_link_with_the_private_name_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "part").symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="symbolic links"):
        PartialFile(tmp_path / "part", describe())
    assert (tmp_path / "precious").read_bytes() == b"precious"


def test_a_file_of_unknown_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.gz: a download needs the size.*num_bytes = None"):
        PartialFile(tmp_path / "part", describe(num_bytes=None))
    assert not (tmp_path / "part").exists()


def test_the_private_name_changes_with_the_bytes_wanted(tmp_path: Path) -> None:
    target = tmp_path / "a.gz"
    assert partial_path(target, describe()) == tmp_path / f"a.gz.{SHA256}.part"
    assert partial_path(target, describe(sha256=None)) == tmp_path / f"a.gz.{GIT_SHA1}.part"
